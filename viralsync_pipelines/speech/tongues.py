# ruff: noqa: RUF001 - other languages' letters and signs are what this is about
"""How signs are said, language by language. Tables only; a language that is missing says its signs as its engine does.

What belongs here: units, currencies, abbreviations and the names of signs. What does not: finding them in a text (normal.py). Numbers
are left to the engines: all of them read digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Forms = tuple[str, ...]
"""For one and for more; where a language has three: for one, for a few, for many."""


@dataclass(frozen=True, eq=False)
class Tongue:
    """signs: names of % @ . / & + = and of "to" between numbers. grouped: what parts thousands and may be left out when said."""

    units: Mapping[str, Forms] = field(default_factory=dict)
    money: Mapping[str, Forms] = field(default_factory=dict)
    short: Mapping[str, str] = field(default_factory=dict)
    signs: Mapping[str, str] = field(default_factory=dict)
    grouped: str = ""
    three: bool = False


def _units(names: str) -> dict[str, Forms]:
    """`km kilometre/kilometres; ...`"""
    found: dict[str, Forms] = {}
    for each in names.split(";"):
        sign, _, forms = each.strip().partition(" ")
        found[sign] = tuple(forms.split("/"))
    return found


def _pairs(text: str) -> dict[str, str]:
    return {name.strip(): said.strip() for name, _, said in (each.partition(":") for each in text.split(";"))}


EN = Tongue(
    units=_units(
        "km kilometer/kilometers; m meter/meters; cm centimeter/centimeters; mm millimeter/millimeters; km/h kilometers per hour; "
        "m/s meters per second; mph miles per hour; kg kilogram/kilograms; g gram/grams; mg milligram/milligrams; l liter/liters; "
        "L liter/liters; ml milliliter/milliliters; lb pound/pounds; lbs pounds; oz ounce/ounces; ft foot/feet; mi mile/miles; "
        "s second/seconds; ms millisecond/milliseconds; min minute/minutes; h hour/hours; hrs hours; W watt/watts; kW kilowatt/kilowatts; "
        "kWh kilowatt hour/kilowatt hours; MW megawatt/megawatts; V volt/volts; Hz hertz; kHz kilohertz; MHz megahertz; GHz gigahertz; "
        "KB kilobyte/kilobytes; MB megabyte/megabytes; GB gigabyte/gigabytes; TB terabyte/terabytes; m² square meter/square meters; "
        "km² square kilometer/square kilometers; °C degree Celsius/degrees Celsius; °F degree Fahrenheit/degrees Fahrenheit; "
        "° degree/degrees; % percent"
    ),
    money=_units("$ dollar/dollars; € euro/euros; £ pound/pounds; ¥ yen; ₹ rupee/rupees"),
    short=_pairs(
        "e.g.: for example; i.e.: that is; etc.: et cetera; vs.: versus; approx.: approximately; Dr.: Doctor; Mr.: Mister; Mrs.: Missis; "
        "Prof.: Professor; St.: Saint; No.: number; Nr.: number; Jr.: Junior; Sr.: Senior; fig.: figure; incl.: including; w/: with; "
        "w/o: without"
    ),
    signs=_pairs("&: and; @: at; .: dot; /: slash; -: dash; _: underscore; +: plus; =: equals; ×: times; to: to; #: number; ~: about"),
)
DE = Tongue(
    units=_units(
        "km Kilometer; m Meter; cm Zentimeter; mm Millimeter; km/h Kilometer pro Stunde; m/s Meter pro Sekunde; kg Kilogramm; g Gramm; "
        "mg Milligramm; l Liter; ml Milliliter; s Sekunde/Sekunden; ms Millisekunde/Millisekunden; min Minute/Minuten; "
        "Min. Minute/Minuten; "
        "h Stunde/Stunden; W Watt; kW Kilowatt; kWh Kilowattstunde/Kilowattstunden; V Volt; Hz Hertz; kHz Kilohertz; MHz Megahertz; "
        "GHz Gigahertz; KB Kilobyte; MB Megabyte; GB Gigabyte; TB Terabyte; m² Quadratmeter; km² Quadratkilometer; °C Grad Celsius; "
        "°F Grad Fahrenheit; ° Grad; % Prozent"
    ),
    money=_units("$ Dollar; € Euro; £ Pfund; ¥ Yen"),
    short=_pairs(
        "z.B.: zum Beispiel; z. B.: zum Beispiel; d.h.: das heißt; d. h.: das heißt; u.a.: unter anderem; usw.: und so weiter; "
        "bzw.: beziehungsweise; ca.: circa; Dr.: Doktor; Prof.: Professor; Nr.: Nummer; Str.: Straße; evtl.: eventuell; inkl.: inklusive; "
        "vgl.: vergleiche; ggf.: gegebenenfalls; etc.: et cetera"
    ),
    signs=_pairs("&: und; @: ät; .: Punkt; /: Schrägstrich; -: Minus; _: Unterstrich; +: plus; =: gleich; ×: mal; to: bis; ~: etwa"),
    grouped=".",
)
FR = Tongue(
    units=_units(
        "km kilomètre/kilomètres; m mètre/mètres; cm centimètre/centimètres; mm millimètre/millimètres; km/h kilomètres par heure; "
        "kg kilogramme/kilogrammes; g gramme/grammes; l litre/litres; ml millilitre/millilitres; s seconde/secondes; min minute/minutes; "
        "h heure/heures; kW kilowatt/kilowatts; kWh kilowattheure/kilowattheures; GHz gigahertz; MHz mégahertz; Mo mégaoctet/mégaoctets; "
        "Go gigaoctet/gigaoctets; GB gigaoctet/gigaoctets; m² mètre carré/mètres carrés; km² kilomètre carré/kilomètres carrés; "
        "°C degré Celsius/degrés Celsius; ° degré/degrés; % pour cent"
    ),
    money=_units("$ dollar/dollars; € euro/euros; £ livre/livres"),
    short=_pairs("p.ex.: par exemple; p. ex.: par exemple; c.-à-d.: c'est-à-dire; etc.: et cetera; M.: Monsieur; Mme: Madame; Dr: Docteur"),
    signs=_pairs("&: et; @: arobase; .: point; /: barre oblique; -: tiret; _: tiret bas; +: plus; =: égale; ×: fois; to: à; ~: environ"),
)
ES = Tongue(
    units=_units(
        "km kilómetro/kilómetros; m metro/metros; cm centímetro/centímetros; mm milímetro/milímetros; km/h kilómetros por hora; "
        "kg kilogramo/kilogramos; g gramo/gramos; l litro/litros; ml mililitro/mililitros; s segundo/segundos; min minuto/minutos; "
        "h hora/horas; kW kilovatio/kilovatios; GHz gigahercios; MB megabyte/megabytes; GB gigabyte/gigabytes; "
        "m² metro cuadrado/metros cuadrados; km² kilómetro cuadrado/kilómetros cuadrados; °C grado Celsius/grados Celsius; "
        "° grado/grados; % por ciento"
    ),
    money=_units("$ dólar/dólares; € euro/euros; £ libra/libras"),
    short=_pairs("p.ej.: por ejemplo; p. ej.: por ejemplo; etc.: etcétera; Sr.: señor; Sra.: señora; Dr.: doctor; Dra.: doctora"),
    signs=_pairs("&: y; @: arroba; .: punto; /: barra; -: guion; _: guion bajo; +: más; =: igual a; ×: por; to: a; ~: aproximadamente"),
    grouped=".",
)
IT = Tongue(
    units=_units(
        "km chilometro/chilometri; m metro/metri; cm centimetro/centimetri; mm millimetro/millimetri; km/h chilometri all'ora; "
        "kg chilogrammo/chilogrammi; g grammo/grammi; l litro/litri; ml millilitro/millilitri; s secondo/secondi; min minuto/minuti; "
        "h ora/ore; kW chilowatt; GHz gigahertz; MB megabyte; GB gigabyte; m² metro quadrato/metri quadrati; "
        "°C grado Celsius/gradi Celsius; ° grado/gradi; % per cento"
    ),
    money=_units("$ dollaro/dollari; € euro; £ sterlina/sterline"),
    short=_pairs("ad es.: ad esempio; es.: esempio; ecc.: eccetera; Sig.: signor; Dott.: dottor; Prof.: professor"),
    signs=_pairs("&: e; @: chiocciola; .: punto; /: barra; -: trattino; _: trattino basso; +: più; =: uguale; ×: per; to: a; ~: circa"),
    grouped=".",
)
PT = Tongue(
    units=_units(
        "km quilômetro/quilômetros; m metro/metros; cm centímetro/centímetros; mm milímetro/milímetros; km/h quilômetros por hora; "
        "kg quilograma/quilogramas; g grama/gramas; l litro/litros; ml mililitro/mililitros; s segundo/segundos; min minuto/minutos; "
        "h hora/horas; kW quilowatt/quilowatts; MB megabyte/megabytes; GB gigabyte/gigabytes; m² metro quadrado/metros quadrados; "
        "°C grau Celsius/graus Celsius; ° grau/graus; % por cento"
    ),
    money=_units("R$ real/reais; $ dólar/dólares; € euro/euros; £ libra/libras"),
    short=_pairs("p.ex.: por exemplo; p. ex.: por exemplo; etc.: et cetera; Sr.: senhor; Sra.: senhora; Dr.: doutor; Dra.: doutora"),
    signs=_pairs("&: e; @: arroba; .: ponto; /: barra; -: hífen; _: sublinhado; +: mais; =: igual a; ×: vezes; to: a; ~: cerca de"),
    grouped=".",
)
NL = Tongue(
    units=_units(
        "km kilometer; m meter; cm centimeter; mm millimeter; km/h kilometer per uur; kg kilogram; g gram; l liter; ml milliliter; "
        "s seconde/seconden; min minuut/minuten; kW kilowatt; GHz gigahertz; MB megabyte; GB gigabyte; m² vierkante meter; "
        "°C graad Celsius/graden Celsius; ° graad/graden; % procent"
    ),
    money=_units("$ dollar; € euro; £ pond"),
    short=_pairs("bijv.: bijvoorbeeld; d.w.z.: dat wil zeggen; enz.: enzovoort; o.a.: onder andere; ca.: circa; dr.: dokter; nr.: nummer"),
    signs=_pairs("&: en; @: apenstaartje; .: punt; /: slash; -: streepje; _: laag streepje; +: plus; =: is gelijk aan; ×: keer; to: tot"),
    grouped=".",
)
PL = Tongue(
    units=_units(
        "km kilometr/kilometry/kilometrów; m metr/metry/metrów; cm centymetr/centymetry/centymetrów; mm milimetr/milimetry/milimetrów; "
        "km/h kilometrów na godzinę; kg kilogram/kilogramy/kilogramów; g gram/gramy/gramów; l litr/litry/litrów; "
        "s sekunda/sekundy/sekund; min minuta/minuty/minut; °C stopień Celsjusza/stopnie Celsjusza/stopni Celsjusza; "
        "° stopień/stopnie/stopni; % procent"
    ),
    money=_units("zł złoty/złote/złotych; $ dolar/dolary/dolarów; € euro"),
    short=_pairs("np.: na przykład; tzn.: to znaczy; itd.: i tak dalej; itp.: i tym podobne; ok.: około; nr: numer; dr: doktor"),
    signs=_pairs("&: i; @: małpa; .: kropka; /: ukośnik; -: myślnik; _: podkreślenie; +: plus; =: równa się; ×: razy; to: do; ~: około"),
    three=True,
)
RU = Tongue(
    units=_units(
        "км километр/километра/километров; м метр/метра/метров; см сантиметр/сантиметра/сантиметров; мм миллиметр/миллиметра/миллиметров; "
        "км/ч километров в час; кг килограмм/килограмма/килограммов; г грамм/грамма/граммов; л литр/литра/литров; "
        "с секунда/секунды/секунд; мин минута/минуты/минут; ч час/часа/часов; ГБ гигабайт/гигабайта/гигабайт; "
        "°C градус Цельсия/градуса Цельсия/градусов Цельсия; ° градус/градуса/градусов; % процент/процента/процентов"
    ),
    money=_units("₽ рубль/рубля/рублей; $ доллар/доллара/долларов; € евро"),
    short=_pairs("т.е.: то есть; т. е.: то есть; т.д.: так далее; т. д.: так далее; т.п.: тому подобное; напр.: например; др.: другие"),
    signs=_pairs("&: и; @: собака; .: точка; /: слэш; -: дефис; _: подчёркивание; +: плюс; =: равно; ×: умножить на; to: до; ~: около"),
    three=True,
)
TONGUES: Mapping[str, Tongue] = {"en": EN, "de": DE, "fr": FR, "es": ES, "it": IT, "pt": PT, "nl": NL, "pl": PL, "ru": RU}


def tongue_of(language: str) -> Tongue:
    """By the first part of a BCP-47 tag; an empty one for a language that is not here."""
    return TONGUES.get(language.lower().replace("_", "-").partition("-")[0], Tongue())


def form_for(forms: Forms, number: str, tongue: Tongue) -> str:
    """The form that follows a number as it is written."""
    whole = number.replace("\u00a0", "").replace("\u202f", "").replace(" ", "").lstrip("-\u2212")
    if not whole.isdecimal():
        # 1.5 kilometers, 1,5 километра.
        return forms[min(1, len(forms) - 1)]
    value = int(whole[-9:])
    if not (tongue.three and len(forms) == 3):
        return forms[0] if value == 1 and len(whole.lstrip("0")) <= 1 else forms[-1]
    ones, tens = value % 10, value % 100
    if ones == 1 and tens != 11 and (value == 1 or forms[2][-1:] != "w"):
        return forms[0] if value == 1 or tongue is RU else forms[2]
    return forms[1] if 2 <= ones <= 4 and not 12 <= tens <= 14 else forms[2]
