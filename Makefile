# python3 bootstrap.py does the work; these are shorter names for it.
.PHONY: run test test-slow lint

run:
	python3 bootstrap.py run

test:
	python3 bootstrap.py test

test-slow:
	python3 bootstrap.py test -m slow

lint:
	python3 bootstrap.py setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
