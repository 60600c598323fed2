"""Two releases race for the pointer: exactly one wins, the others change nothing."""

import json
import subprocess
import sys
from pathlib import Path

from fpenet.provenance.signing import PublicKey, SigningKey
from fpenet.release.store.interface import Store
from fpenet.release.store.pointer import read_history, read_pointer
from tests.release_store import promote

ROOT = Path(__file__).parents[2]
RACERS = range(10, 20)
RACE = """
import json
import multiprocessing
import sys
from pathlib import Path
from fpenet.provenance.signing import read_signing_key
from fpenet.release.store.pointer import move, read_pointer, take_token
from fpenet.release.store.interface import Superseded
from fpenet.release.store.open_store import open_store
from tests.release_store import ledger_entry

place, endpoint, key, *versions = sys.argv[1:]
key = read_signing_key(Path(key))
trusted = (key.public,)

def race(start, version):
    store = open_store(place, endpoint or None)
    seen = read_pointer(store, trusted)
    start.wait(60)
    try:
        pointer = take_token(store, trusted)
        if pointer.entry != seen.entry:
            raise Superseded(f"the pointer is at sequence {pointer.sequence}")
        return f"won {move(store, pointer, ledger_entry(version), key, trusted).sequence}"
    except Superseded as error:
        return f"superseded: {error}"

def run(start, version, said):
    said.put((version, race(start, version)))

context = multiprocessing.get_context("fork")
start, said = context.Barrier(len(versions)), context.Queue()
racers = [context.Process(target=run, args=(start, version, said)) for version in versions]
for racer in racers:
    racer.start()
print(json.dumps(dict(said.get(timeout=120) for _ in racers)))
"""


def test_f38_of_ten_processes_that_race_exactly_one_wins(
    store: Store,
    place: tuple[str, str | None],
    key: SigningKey,
    trusted: tuple[PublicKey, ...],
    tmp_path: Path,
) -> None:
    promote(store, key, "1")
    words = [
        sys.executable,
        "-c",
        RACE,
        place[0],
        place[1] or "",
        str(tmp_path / "keys/watcher.pem"),
    ]
    done = subprocess.run(
        [*words, *map(str, RACERS)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = json.loads(done.stdout)
    won = [version for version, word in said.items() if word == "won 2"]
    assert len(won) == 1
    assert sum(word.startswith("superseded: ") for word in said.values()) == len(RACERS) - 1
    pointer = read_pointer(store, trusted)
    assert (pointer.sequence, pointer.version) == (2, won[0])
    assert read_history(store, trusted).problems == ()
    assert store.names("history/") == ["history/00000001.json"]
