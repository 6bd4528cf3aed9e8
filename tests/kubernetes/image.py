#!/usr/bin/env python3
"""A container image of one layer, as a docker-archive tar: image.py OUT NAME:TAG [--entrypoint PROGRAM] FILE=PLACE...

https://github.com/moby/moby/blob/v20.10.0/image/spec/v1.2.md says what is in it."""
import argparse
import hashlib
import io
import json
import os
import tarfile

CREATED = "2021-01-13T00:00:00Z"
FILES = {"etc/passwd": b"root:x:0:0:root:/root:/bin/false\n", "etc/nsswitch.conf": b"hosts: files dns\n"}


def add(tar, name, content, mode):
    info = tarfile.TarInfo(name)
    info.mode, info.size = mode, len(content)
    tar.addfile(info, io.BytesIO(content))


def write_layer(path, files):
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        made = set()

        def folder(name, mode=0o755):
            if name and name not in made:
                folder(os.path.dirname(name))
                made.add(name)
                info = tarfile.TarInfo(name)
                info.type, info.mode = tarfile.DIRTYPE, mode
                tar.addfile(info)

        folder("tmp", 0o1777)
        folder("etc")
        for name, content in FILES.items():
            add(tar, name, content, 0o644)
        for source, place in files:
            folder(os.path.dirname(place))
            info = tarfile.TarInfo(place)
            info.mode, info.size = 0o755, os.path.getsize(source)
            with open(source, "rb") as content:
                tar.addfile(info, content)


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("name")
    parser.add_argument("--entrypoint", action="append", default=[])
    parser.add_argument("files", nargs="+")
    given = parser.parse_args()
    pairs = [file.split("=", 1) for file in given.files]
    layer = given.out + ".layer"
    write_layer(layer, [(os.path.realpath(source), place.lstrip("/")) for source, place in pairs])
    diff = digest(layer)
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "created": CREATED, "history": [{"created": CREATED}],
        "config": {"Env": [path], "Entrypoint": given.entrypoint, "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + diff]},
    }).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": [given.name], "Layers": [diff + "/layer.tar"]}]
    with tarfile.open(given.out, "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(layer, diff + "/layer.tar")
        add(tar, name, config, 0o644)
        add(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)
    os.unlink(layer)


main()
