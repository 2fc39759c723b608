"""Every real file beside the checkout: taken, or refused with the code of a committed table; both counted (issue 3)."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

from contracts.reasons import REASONS
from tests.rails.support import code, codes, read, wide

FILES = 179  # the README's tables name 179 files and its summary 183; 179 lie there
TAKEN = 18
TABLE = tomllib.loads((Path(__file__).parent / "expected_codes.toml").read_text("utf-8"))
ROW = re.compile(r"^\| `([^`]+)` \|.*\| ([^|]+) \|$")
# XSD-valid, no rule broken by their author's word, and yet: Fr and To are not the message's own agents.
OF_ANOTHER_BANK = {
    "cbpr-ur/2025_cbprplus_pacs008_sample_bic_mismatch.xml",
    "cbpr-ur/2025_cbprplus_pacs008_sample_dodgy_IBAN_and_bic_mismatch.xml",
}


def real_files(shared_data: Path) -> dict[str, Path]:
    folder = shared_data / "iso20022"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")
    return {str(path.relative_to(folder)): path for path in files}


def described(shared_data: Path) -> dict[str, str]:
    """What the README of the data says of each file."""
    out: dict[str, str] = {}
    section = ""
    for line in (shared_data / "iso20022" / "README.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:].strip()
        elif match := ROW.match(line):
            out[f"{section}/{match[1]}"] = match[2]
    return out


def test_each_file_is_taken_or_gives_the_code_of_the_table(shared_data: Path) -> None:
    found = {name: code(path.read_bytes(), wide()) for name, path in real_files(shared_data).items()}
    assert {name: answer for name, answer in found.items() if answer != "OK"} == TABLE
    assert (len(found), Counter(found.values())["OK"]) == (FILES, TAKEN)
    assert set(TABLE.values()) <= REASONS.keys()


def test_every_xsd_valid_pacs_008_that_breaks_no_rule_is_taken(shared_data: Path) -> None:
    said = described(shared_data)
    assert set(said) == set(real_files(shared_data))
    good = {
        name
        for name, what in said.items()
        if what.startswith("pacs.008.") and "XSD-valid" in what and "breaks" not in what
    }
    assert good > OF_ANOTHER_BANK
    taken = {name for name, path in real_files(shared_data).items() if code(path.read_bytes(), wide()) == "OK"}
    assert taken == good - OF_ANOTHER_BANK


def test_a_type_that_is_not_taken_is_named(shared_data: Path) -> None:
    said = described(shared_data)
    for name, path in real_files(shared_data).items():
        refused = read(path.read_bytes(), wide()).group_refused
        if refused is not None and refused.code == "MESSAGE_TYPE_UNSUPPORTED" and path.suffix != ".json":
            assert re.match(r"[a-z]{4}\.\d{3}\.\d{3}\.\d{2}", refused.detail), name
            assert said[name].split()[0].rstrip(";") in refused.detail, name


def test_under_an_ordinary_release_the_old_ones_are_stale(shared_data: Path) -> None:
    ordinary = Counter(
        word
        for name, path in real_files(shared_data).items()
        if name not in TABLE
        for word in codes(read(path.read_bytes()))
    )
    assert ordinary == {"STALE_MESSAGE": TAKEN}


def test_one_payment_in_two_envelopes_has_one_business_key(shared_data: Path) -> None:
    files = real_files(shared_data)
    names = ("cbpr-ur/2025_pacs008_credit_transfer_sample.xml", "cbpr-ur/2026_pacs008_credit_transfer_sample.xml")
    keys = {read(files[n].read_bytes(), wide()).results[0].instruction["business_key"] for n in names}
    assert len(keys) == 1


def test_what_is_read_of_a_real_message_is_what_it_says(shared_data: Path) -> None:
    path = real_files(shared_data)["prowide/pacs.008.001.08_Envelope_cbprplus.xml"]
    answer = read(path.read_bytes(), wide())
    instruction = answer.results[0].instruction
    assert answer.message.wrapper == "Envelope"
    assert instruction is not None
    wanted = {
        "message_id": "1234567890", "instruction_ref": "wS4", "end_to_end_ref": "tddt1wofdaT", "tx_ref": None,
        "uetr": "1f437d32-df83-41ef-b925-34418eb3a988", "amount_minor": 100000, "currency": "USD",
        "settlement_date": "2019-08-13", "created_date": "2019-08-12", "settlement_method": "INGA",
        "instructing_agent": "FOOWUSXXXXX", "instructed_agent": "FOOEUSXXXXX", "debtor_agent": "FOOHUS33XXX",
        "creditor_agent": "FOOWGB21002", "message_type": "pacs.008.001.08", "tx_index": 0, "tx_count": 1,
    }  # fmt: skip
    assert {name: instruction[name] for name in wanted} == wanted
