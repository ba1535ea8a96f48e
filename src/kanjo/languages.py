"""Codes of languages (ISO 639-1), and the names and ISO 639-2 and 639-3 codes that stand for them."""

from __future__ import annotations

import difflib

from kanjo.errors import KanjoError
from kanjo.labels import fold_word

#: Code, three-letter codes (ISO 639-3, then those of ISO 639-2/B), and names, the English one first; each line is one
#: language. Languages without a two-letter code have their three-letter code. Members of a macrolanguage ("cmn") have
#: its code.
_TABLE = """
aa aar afar
ab abk abkhazian
af afr afrikaans
ak aka akan twi
am amh amharic
an arg aragonese
ar ara arb arz ary apc ajp acm arabic
as asm assamese
ast asturian
av ava avaric
ay aym aymara
az aze azj azb azerbaijani
ba bak bashkir
be bel belarusian
bg bul bulgarian
bm bam bambara
bn ben bengali bangla
bo bod tib tibetan
br bre breton
bs bos bosnian
ca cat catalan valencian
ce che chechen
ceb cebuano
ckb sorani
co cos corsican
cs ces cze czech
cv chv chuvash
cy cym wel welsh
da dan danish dansk
de deu ger german deutsch
dv div divehi
ee ewe
el ell gre greek
en eng english
eo epo esperanto
es spa spanish castilian español espanol
et est ekk estonian
eu eus baq basque
fa fas per pes prs persian farsi dari
ff ful fulah fula
fi fin finnish
fil filipino
fj fij fijian
fo fao faroese
fr fra fre french français francais
fy fry frisian
ga gle irish
gd gla gaelic
gl glg galician
gn grn guarani
gsw swiss_german
gu guj gujarati
ha hau hausa
haw hawaiian
he heb hebrew
hi hin hindi
hr hrv croatian
ht hat haitian
hu hun hungarian
hy hye arm armenian
id ind indonesian
ig ibo igbo
is isl ice icelandic
it ita italian italiano
iu iku inuktitut
ja jpn japanese 日本語
jv jav javanese
ka kat geo georgian
kab kabyle
ki kik kikuyu
kk kaz kazakh
kl kal greenlandic
km khm khmer
kn kan kannada
ko kor korean 한국어
ks kas kashmiri
ku kur kmr kurdish kurmanji
ky kir kyrgyz
la lat latin
lb ltz luxembourgish
lg lug ganda luganda
ln lin lingala
lo lao
lt lit lithuanian
lv lav lvs latvian
mg mlg malagasy
mi mri mao maori
mk mkd mac macedonian
ml mal malayalam
mn mon khk mongolian
mr mar marathi
ms msa may zsm malay
mt mlt maltese
my mya bur burmese
nan min_nan hokkien taiwanese
nb nob bokmal bokmål
ne nep npi nepali
nl nld dut dutch flemish nederlands
nn nno nynorsk
no nor norwegian
nv nav navajo
ny nya chichewa nyanja
oc oci occitan
om orm gaz oromo
or ori ory odia oriya
os oss ossetian
pa pan punjabi panjabi
pl pol polish polski
ps pus pbt pashto
pt por portuguese português
qu que quechua
rm roh romansh
rn run rundi kirundi
ro ron rum romanian moldovan
ru rus russian русский
rw kin kinyarwanda
sa san sanskrit
sc srd sardinian
sd snd sindhi
se sme northern_sami
si sin sinhala
sk slk slo slovak
sl slv slovenian slovene
sm smo samoan
sn sna shona
so som somali
sq sqi alb als albanian
sr srp serbian
ss ssw swati
st sot sotho
su sun sundanese
sv swe swedish
sw swa swh swahili
ta tam tamil
te tel telugu
tg tgk tajik
th tha thai
ti tir tigrinya
tk tuk turkmen
tl tgl tagalog
tn tsn tswana
to ton tongan
tr tur turkish türkçe
ts tso tsonga
tt tat tatar
ug uig uyghur
uk ukr ukrainian
ur urd urdu
uz uzb uzn uzbek
vi vie vietnamese
wo wol wolof
wuu wu_chinese shanghainese
xh xho xhosa
yi yid ydd yiddish
yo yor yoruba
yue cantonese
za zha zhuang
zh zho chi cmn chinese mandarin 中文 普通话
zu zul zulu
"""
_CODES = {word.replace("_", " "): line.split()[0] for line in _TABLE.split("\n") if line for word in line.split()}
#: English name of each language.
_NAMES = {
    line.split()[0]: next(word for word in line.split()[1:] if len(word) > 3 or word in ("lao", "ewe")).title()
    for line in _TABLE.split("\n")
    if line
}
#: Codes of countries that are taken for those of their languages.
_OF_COUNTRY = {"jp": "ja", "kr": "ko", "cn": "zh", "dk": "da", "cz": "cs", "gr": "el", "ua": "uk", "ir": "fa"}
#: Codes of ISO 639 that state no language: undetermined, several, none, and not coded.
_UNKNOWN = frozenset(["und", "mul", "zxx", "mis"])
_MAX_LENGTH = 64
_EXPECTED = "expected an ISO 639-1 code such as ko, or an English name such as Korean"


def language_code(language: str) -> str:
    """Return the ISO 639-1 code of a language: "en" for "English", "eng", "en" and "en-US".

    Args:
        language: A code of ISO 639-1, 639-2 or 639-3, also with a region, or an English name. Case does not matter.

    Returns:
        The code; "" for an empty word and for codes that state no language, such as "und".

    Raises:
        KanjoError: The language is unknown; the message names the most similar one.
    """
    if not isinstance(language, str):
        raise KanjoError(f"language {language!r}: {_EXPECTED}")
    word = fold_word(language[:_MAX_LENGTH])
    if not word or word in _UNKNOWN:
        return ""
    for candidate in (word, word.replace("_", "-").split("-")[0]):
        if candidate in _CODES:
            return _CODES[candidate]
    similar = [_OF_COUNTRY[word]] if word in _OF_COUNTRY else difflib.get_close_matches(word, _CODES, n=1)
    code = _CODES[similar[0]] if similar else ""
    hint = f"; did you mean {code} ({_NAMES[code]})?" if code else ""
    raise KanjoError(f"language {language[:_MAX_LENGTH]!r}: {_EXPECTED}{hint}")
