"""Before a run: what its shape takes of devices, by arithmetic alone.

Takes a model's configuration, a batch and a number of devices; gives layouts, memory by part and time, each marked as estimated
or counted. It never trains, and needs torch only to build a layout on the meta device.
"""
