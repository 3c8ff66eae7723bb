"""Numbers and foreign text as people read them: in the live table, the log, `doctor` and the report."""

import unicodedata

BIDI_CONTROLS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def quantity(value: float) -> str:
    """1,234,567 -> '1.23 M': three digits and a unit prefix, with a space before the unit that follows."""
    for size, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{three_digits(value / size)} {prefix}"
    return f"{value:.3g} "


def three_digits(value: float) -> str:
    """999.7 -> '1000', 12.34 -> '12.3', without an exponent."""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """75 -> '1:15'; 3,700 -> '1:01:40'."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def counted(value: float) -> str:
    """1234567 -> '1,234,567'."""
    return f"{value:,.0f}"


def money(dollars: float) -> str:
    if dollars >= 0.01 or dollars == 0:
        return f"${dollars:,.2f}"
    return f"{dollars * 100:.1g} cents" if dollars >= 1e-4 else "<0.01 cents"


def weight(kilograms: float) -> str:
    """Kilograms as g, kg or t."""
    if kilograms >= 1000:
        return f"{three_digits(kilograms / 1000)} t"
    return f"{three_digits(kilograms)} kg" if kilograms >= 1 else f"{kilograms * 1000:.2g} g"


def volume(litres: float) -> str:
    """Litres as mL, L or m³."""
    if litres >= 1000:
        return f"{three_digits(litres / 1000)} m³"
    return f"{three_digits(litres)} L" if litres >= 1 else f"{litres * 1000:.2g} mL"


def byte_size(size: float) -> str:
    """Decimal units, as disks are sold: 1,200,000 -> '1.2 MB'."""
    return f"{quantity(size)}B"


def printable(text: str) -> str:
    """Text of the corpus or the model with controls that could steer a terminal or hide text (UAX #9) made visible."""
    return "".join(c if c in "\n\t" or c.isprintable() else shown(c) for c in text)


def shown(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Cs") or character in BIDI_CONTROLS
    return "\N{REPLACEMENT CHARACTER}" if hidden else character


def energy(joules: float) -> str:
    """Electricity in kWh, less than a tenth of one in Wh."""
    kwh = joules / 3.6e6
    return f"{kwh:,.2f} kWh" if kwh >= 0.1 else f"{joules / 3600:.2g} Wh"
