#!/usr/bin/env python3
"""Writes the Parquet files of tests/golden/parquet with pyarrow, and the rows that pyarrow itself reads from them
(plain.jsonl, messages.jsonl). Usage: parquet_golden.py OUT_DIR
"""
import datetime
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TEXT = ["2 + 2?", "Größe, 大きさ", "", "tab\tand\nline", "last"]


def write(out: Path, name: str, table: pa.Table, **options) -> None:
    pq.write_table(table, out / f"{name}.parquet", **options)
    assert pq.read_table(out / f"{name}.parquet").to_pylist() == table.to_pylist()


def write_rows(path: Path, table: pa.Table) -> None:
    with open(path, "w", encoding="utf-8") as lines:
        for row in table.to_pylist():
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    plain = pa.table({
        "instruction": TEXT,
        "input": pa.array([None, "x", None, "y", "z"]),
        "output": pa.array(["4", "size", "a", "b", "c"], pa.large_string()),
        "answer": pa.array([4, None, -7, 2**60, 0], pa.int64()),
        "source": pa.array(["sums", "words", "sums", "words", "sums"]).dictionary_encode(),
    })
    write_rows(out / "plain.jsonl", plain)
    for codec in ("none", "snappy", "gzip", "zstd", "brotli", "lz4"):
        # Two rows a group, so that rows run over groups.
        write(out, f"plain_{codec}", plain, compression=codec, row_group_size=2)
    write(out, "plain_v2", plain, compression="zstd", data_page_version="2.0", use_dictionary=False)
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    chat = [[{"role": "user", "content": t or "?"}, {"role": "assistant", "content": f"<{t}>"}] for t in TEXT]
    few_shot = pa.struct([("description", pa.string()), ("examples", pa.list_(pa.string()))])
    shots = {"description": "d", "examples": ["a", "b"]}
    messages = pa.table({
        "messages": pa.array(chat, pa.list_(message)),
        "few_shot": pa.array([None, shots, None, {"description": None, "examples": []}, None], few_shot),
        "choices": pa.array([["a", "b"]] * 5, pa.large_list(pa.string())),
    })
    write(out, "messages", messages, compression="snappy", row_group_size=3)
    write_rows(out / "messages.jsonl", messages)
    # What rows cannot hold: in a column that they do not have, in some values, in a whole column.
    times = pa.array([datetime.datetime(2024, 1, 1)] * 3, pa.timestamp("us"))
    write(out, "odd", pa.table({"instruction": pa.array([b"fine", b"\xff\xfe", b"fine too"], pa.binary()),
                                "answer": pa.array([1.5, 2.0, float("inf")]), "created": times}))
    write(out, "times", pa.table({"instruction": ["a", "b", "c"], "output": times}))


if __name__ == "__main__":
    main()
