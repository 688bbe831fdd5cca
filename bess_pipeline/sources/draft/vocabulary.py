"""What makers call things: words of many languages → concepts, and which concepts make which house column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

#: Concept → words for it, in lower case and without accents. Names are cut into these words.
WORDS: dict[str, str] = {
    # Quantities: English, German, French, Spanish, Italian, Chinese, and the letters of physics.
    "voltage": "voltage volt volts spannung tension tensione voltaje u v ecell ewe ubat vbat vmod 电压",
    "current": "current amps amp ampere strom courant corriente corrente intensite intensidad i ibat 电流",
    "power": "power watt watts leistung wirkleistung puissance potencia potenza activepower p 功率",
    "temperature": "temperature temp temps temperatur temperatura tmp thermocouple t tc 温度",
    "soc": "soc ladezustand ladestand stateofcharge batterycharge 荷电状态",
    "soh": "soh stateofhealth gesundheitszustand 健康状态",
    "time": "time timestamp datetime date zeit zeitstempel datum uhrzeit epoch unix utc ts t dpt horodatage heure "
    "fecha hora tempo 时间 日期 stamp local testtime tsecs",
    "status": "status state mode zustand betriebszustand betriebsart etat estado stato sts 状态",
    # What a quantity is of.
    "cell": "cell cells zell zelle zellen cellule celda cella monomer 单体",
    "battery": "battery bat batt bms batterie bateria batteria rack string str strang pack packs unit "
    "device module modul vehicle veh system container bank stack cluster asset ess bess speicher "
    "einheit anlage storage 电池 电池簇 簇 电池组",
    "id": "id idx name nr no number nummer serial sn",
    "probe": "probe probes sensor fuehler sonde aux",
    "ambient": "ambient ambiance umgebung umgebungs umg amb 环境 outside outdoor aussen room raum env "
    "environment chamber",
    "dc": "dc",
    "ac": "ac grid netz inverter wechselrichter pcs",
    "auxiliary": "auxiliary aux hilfs hvac eigenverbrauch eigenbedarf",
    # Which of several values.
    "min": "min minimum lowest mini low coldest kleinste 最低 最小",
    "max": "max maximum highest maxi hottest groesste 最高 最大",
    "mean": "mean avg average mittel mittelwert moyen moyenne avr 平均",
    "plain": "measured actual ist istwert value wert logged reported ref act meas moy total 总",
    # What makes a column something else.
    "set": "set setpoint sp soll sollwert target request requested ask exec command cmd limit lim band allowed "
    "available avail reference offset capability rated nominal ext load alarm warning",
    "reactive": "reactive blindleistung kvar kva va apparent scheinleistung q",
    "counter": "energy energie capacity capacite kapazitaet ah wh amphr watthr charge discharge chg dchg dis count "
    "counter cycle cyc index step line point rec record throughput spec cap accumulated meter runtime seq "
    "hr hrs stunden",
    "derived": "resistance ohm ohms impedance acr dcir dv dt dq du delta diff differential spread slope rate "
    "frequency hz freq phase imag isolation insulation std dev difference",
}  # fmt: skip

#: Unit as makers write it → (quantity it belongs to, as the fleet file writes it).
UNITS: dict[str, tuple[str, str]] = {
    "v": ("voltage", "V"), "mv": ("voltage", "mV"), "kv": ("voltage", "kV"), "volt": ("voltage", "V"),
    "volts": ("voltage", "V"), "millivolt": ("voltage", "mV"), "a": ("current", "A"), "ma": ("current", "mA"),
    "ka": ("current", "kA"), "amps": ("current", "A"), "ampere": ("current", "A"), "milliampere": ("current", "mA"),
    "mamps": ("current", "mA"), "mamp": ("current", "mA"), "mvolts": ("voltage", "mV"), "mwatt": ("power", "mW"),
    "w": ("power", "W"), "kw": ("power", "kW"), "watt": ("power", "W"), "watts": ("power", "W"),
    "c": ("temperature", "degC"), "degc": ("temperature", "degC"), "°c": ("temperature", "degC"),
    "celsius": ("temperature", "degC"), "℃": ("temperature", "degC"), "f": ("temperature", "degF"),
    "degf": ("temperature", "degF"), "°f": ("temperature", "degF"), "fahrenheit": ("temperature", "degF"),
    "k": ("temperature", "K"), "kelvin": ("temperature", "K"), "pct": ("share", "percent"),
    "percent": ("share", "percent"), "%": ("share", "percent"), "prozent": ("share", "percent"),
    "perc": ("share", "percent"), "fraction": ("share", "fraction"), "permille": ("share", "permille"),
    "s": ("time", "s"), "sec": ("time", "s"), "secs": ("time", "s"), "second": ("time", "s"), "seconds": ("time", "s"),
    "ms": ("time", "ms"), "millisecond": ("time", "ms"), "us": ("time", "us"), "µs": ("time", "us"),
    "microsecond": ("time", "us"), "ns": ("time", "ns"), "nanosecond": ("time", "ns"), "h": ("time", "h"),
    "hour": ("time", "h"), "hours": ("time", "h"), "minutes": ("time", "min"), "days": ("time", "d"),
    "d": ("time", "d"), "ah": ("counter", "Ah"), "wh": ("counter", "Wh"), "mah": ("counter", "mAh"),
    "kwh": ("counter", "kWh"), "ohm": ("derived", "ohm"), "mohm": ("derived", "mohm"), "hz": ("derived", "Hz"),
    "kvar": ("reactive", "kvar"),
}  # fmt: skip
_CASED = {"MW": ("power", "MW"), "mW": ("power", "mW"), "MV": ("voltage", "MV")}

#: Units of what is no measurement of the house.
_OTHERWISE = {"counter", "derived", "reactive"}
_LETTERS = 2
#: Units that are names of columns by themselves, as in SunSpec.
_ALONE = {"A", "W", "kW", "mV", "mA"}
_QUANTITIES = {"voltage", "current", "power", "temperature", "soc", "soh", "time", "status"}
_TRANSLITERATED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "é": "e", "è": "e", "ó": "o", "í": "i"})
_WORDS_OF: dict[str, tuple[str, ...]] = {}
for _concept, _said in WORDS.items():
    for _word in _said.split():
        _WORDS_OF[_word] = (*_WORDS_OF.get(_word, ()), _concept)


@dataclass(frozen=True)
class Rule:
    """A house column, and what a name has to say and may say to be it.

    Attributes:
        house: The house column.
        needs: Concepts that must be there.
        allows: Concepts that may be there too; any other means something else.
        rank: Of rules that fit a name alike, the higher one is tried first.
    """

    house: str
    needs: frozenset[str]
    allows: frozenset[str] = frozenset()
    rank: int = 0


def _rule(house: str, needs: str, allows: str = "", rank: int = 0) -> Rule:
    return Rule(house, frozenset(needs.split()), frozenset(allows.split()) | {"plain"}, rank)


#: Which concepts make which house column.
RULES: tuple[Rule, ...] = (
    _rule("timestamp", "time", "battery plain"),
    _rule("battery_id", "battery id", "cell", 3),
    _rule("battery_id", "battery", "", 2),
    _rule("battery_id", "cell id", "", 1),
    _rule("battery_id", "cell"),
    _rule("voltage_volt", "voltage", "battery dc", 1),
    _rule("voltage_volt", "voltage cell", "battery dc"),
    _rule("current_ampere", "current", "battery dc cell mean"),
    _rule("power_watt", "power", "battery dc"),
    _rule("power_ac_watt", "power ac", "battery"),
    _rule("auxiliary_power_watt", "power auxiliary", "battery"),
    _rule("temperature_celsius", "temperature mean", "battery cell probe", 1),
    _rule("temperature_celsius", "temperature", "battery cell probe"),
    _rule("temperature_min_celsius", "temperature min", "battery cell probe"),
    _rule("temperature_max_celsius", "temperature max", "battery cell probe"),
    _rule("ambient_temperature_celsius", "temperature ambient", "battery mean"),
    _rule("cell_voltage_min_volt", "voltage min cell", "battery", 1),
    _rule("cell_voltage_max_volt", "voltage max cell", "battery", 1),
    _rule("cell_voltage_min_volt", "voltage min", "battery"),
    _rule("cell_voltage_max_volt", "voltage max", "battery"),
    _rule("soc_bms_percent", "soc", "battery mean"),
    _rule("soh_bms_percent", "soh", "battery mean"),
    _rule("status", "status", "battery counter"),
)


@dataclass(frozen=True)
class Name:
    """What the name of a column says.

    Attributes:
        text: The name as the file has it.
        readings: Sets of concepts that it may mean; more than one where a letter stands for several.
        unit: The unit in it: its quantity, and how a fleet file writes it.
        unknown: Words in it that nothing is known about.
    """

    text: str
    readings: tuple[frozenset[str], ...]
    unit: tuple[str, str] | None
    unknown: tuple[str, ...]


def name(text: str, *, unit: str | None = None) -> Name:
    """Read the name of a column.

    Args:
        text: The name.
        unit: A unit that stands elsewhere, such as in a line of units below the header.

    Examples:
        >>> said = name("UZellMin_mV")
        >>> sorted(said.readings[0]), said.unit
        (['cell', 'min', 'voltage'], ('voltage', 'mV'))
        >>> sorted(name("Batteriespannung [V]").readings[0])
        ['battery', 'voltage']
        >>> [sorted(reading) for reading in name("t_ms").readings]
        [['time']]
    """
    known, pieces = _unit_and_pieces(text, unit)
    options: list[tuple[tuple[str, ...], ...]] = []
    unknown = []
    for piece in pieces:
        ways = _concepts(piece)
        if ways is not None:
            options.append(ways)
        elif not piece.isdigit():
            unknown.append(piece)
    if re.search(r"\bd\w{1,3}/d", text):
        options.append((("derived",),))
    said = (frozenset(concept for way in chosen for concept in way) for chosen in product(*options[:8]))
    readings = dict.fromkeys(reading for each in said if (reading := _with_unit(each, known)) is not None)
    return Name(text, tuple(readings), known, tuple(unknown))


def _unit_and_pieces(text: str, unit: str | None) -> tuple[tuple[str, str] | None, list[str]]:
    """The unit in a name, and the pieces that are left of the name without it."""
    bracketed = re.search(r"[\[(/]\s*([^\])/]{1,12}?)\s*[\])]?\s*$", text)
    known = _unit(unit or "") or (_unit(bracketed[1]) if bracketed else None)
    plain = text[: bracketed.start()] if bracketed and (_unit(bracketed[1]) or text[bracketed.start()] != "/") else text
    pieces: list[str] = []
    for chunk in re.findall(r"[^\W_]+|[%°℃]+[A-Za-z]?", _PHRASE.sub(r" so\1 ", plain)):
        whole = _unit(chunk) or chunk.lower().translate(_TRANSLITERATED) in _WORDS_OF
        pieces += [chunk] if whole else re.findall(_PIECE, chunk)
    if known is not None or not pieces:
        return known, pieces
    alone = len(pieces) == 1 and pieces[0] in _ALONE
    if (len(pieces[0]) > _LETTERS or alone) and _unit(pieces[0]) and _concepts(pieces[0]) is None:
        return _unit(pieces[0]), pieces[1:]
    at = next((place for place in range(len(pieces) - 1, 0, -1) if _unit(pieces[place])), None)
    found = None if at is None else _unit(pieces[at])
    if at is None or found is None:
        return None, pieces
    before = [_concepts(piece) or () for piece in pieces[:at]]
    told = {concept for options in before for way in options for concept in way} & _QUANTITIES
    belongs = {"share": {"soc", "soh"}}.get(found[0], {found[0]})
    if not told or told & belongs or found[0] in _OTHERWISE:
        return found, pieces[:at] + pieces[at + 1 :]
    return None, pieces


def _with_unit(said: frozenset[str], unit: tuple[str, str] | None) -> frozenset[str] | None:
    """A reading with what its unit adds; nothing where the two contradict, or it would be two quantities."""
    if unit is not None:
        adds = unit[0] in _OTHERWISE or (unit[0] in _QUANTITIES and not said & _QUANTITIES)
        said = said | {unit[0]} if adds else said
        if unit[0] in _QUANTITIES and unit[0] not in said:
            return None
    return said if len(said & (_QUANTITIES - {"status"})) <= 1 else None


_PHRASE = re.compile(r"state[\s_-]*of[\s_-]*(?:(?=charge)|(?=health))(.)\w+", re.IGNORECASE)
_PIECE = r"[A-Z]+(?=[A-Z][a-zäöüß])|[A-ZÄÖÜ]?[a-zäöüßéèóí]+|[A-ZÄÖÜ]+|\d+|[^\W\d_A-Za-z]+"


def _unit(text: str) -> tuple[str, str] | None:
    return _CASED.get(text) or UNITS.get(text.strip().lower())


@lru_cache(maxsize=4096)
def _concepts(piece: str) -> tuple[tuple[str, ...], ...] | None:
    """The ways to understand a piece of a name: each a tuple of concepts; nothing where it is not known."""
    word = piece.lower().translate(_TRANSLITERATED)
    if word in _WORDS_OF:
        return tuple((concept,) for concept in _WORDS_OF[word])
    for cut in range(len(word) - 1, 0, -1):
        first, rest = word[:cut], word[cut:]
        for linked in (rest, rest.removeprefix("s")) if cut > _LETTERS else (rest,):
            if first in _WORDS_OF and len(linked) > 1 and (ways := _concepts(linked)) is not None:
                return tuple((concept, *way) for concept in _WORDS_OF[first] for way in ways)
    return None
