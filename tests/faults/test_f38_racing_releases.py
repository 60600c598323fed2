"""Two releases race for the pointer: exactly one wins, the others change nothing."""

import subprocess
import sys
from pathlib import Path

from components.provenance.sign import PublicKey, SigningKey
from components.release.pointer import read_head, read_history
from components.release.store import Store
from tests.release_store import promote

ROOT = Path(__file__).parents[2]
RACE = """
import sys
from pathlib import Path
from components.provenance.sign import read_signing_key
from components.release.pointer import move, read_head, take_token
from components.release.store import Superseded, open_store
from tests.release_store import link

place, endpoint, key, version = sys.argv[1:]
key = read_signing_key(Path(key))
trusted = (key.public,)
store = open_store(place, endpoint or None)
seen = read_head(store, trusted)
print("ready", flush=True)
sys.stdin.readline()
try:
    head = take_token(store, trusted)
    if head.link != seen.link:
        raise Superseded(f"the pointer is at sequence {head.sequence}")
    print("won", move(store, head, link(version), key, trusted).sequence)
except Superseded as error:
    print("superseded", error)
"""


def test_f38_of_ten_processes_that_race_exactly_one_wins(
    store: Store,
    place: tuple[str, str | None],
    key: SigningKey,
    trusted: tuple[PublicKey, ...],
    tmp_path: Path,
) -> None:
    promote(store, key, "1")
    words = [sys.executable, "-c", RACE, place[0], place[1] or "", str(tmp_path / "keys/gate.pem")]
    racers = [
        subprocess.Popen(
            [*words, str(number)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(10, 20)
    ]
    assert [racer.stdout.readline() for racer in racers if racer.stdout] == ["ready\n"] * 10
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()
    said = [racer.communicate() for racer in racers]
    assert [error for _, error in said if error] == []
    won = [number for number, (line, _) in zip(range(10, 20), said, strict=True) if "won" in line]
    assert len(won) == 1
    assert sum(line.startswith("superseded") for line, _ in said) == 9
    head = read_head(store, trusted)
    assert (head.sequence, head.version) == (2, str(won[0]))
    assert read_history(store, trusted).problems == ()
    assert store.names("history/") == ["history/00000001.json"]
