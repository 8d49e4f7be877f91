#!/usr/bin/env python3
"""Reads and runs a .cic model, from docs/format.md and docs/numerics.md alone.

    python3 cic_reference.py MODEL.cic [CELLS.json]

Checks the container, the digests, the model id and the bounds of the sums, runs the golden cells of
the model (or the cells of a file), and prints one JSON object. int8 models are
computed in exact integers, float models in double precision. Exits with 1 and a message on a file
that the format forbids. Standard library only, and no line of it is taken from the Rust code: where
the two disagree, one of them or the documents are wrong.
"""

import hashlib
import json
import math
import struct
import sys
from fractions import Fraction

MAGIC = b"\x89CIC\r\n\x1a\n"
INFO, GENES, PROFILE, GRAPH, LABELS, RULES, PROVENANCE, ROWS, GOLDEN = range(1, 10)
EPILOGUE, TABLES, CODE, RECONSTRUCTION, NOVELTY, CONFIDENCE = 10, 11, 12, 13, 14, 15
WEIGHTS, ANCILLARY = 16, 1 << 31
F32, F16, INT8, MIXED = 1, 2, 3, 4
COUNTS, LINEAR_NORMALISED, LOG2_INTENSITY = 1, 2, 4
NO_LIBRARY, PANEL_LIBRARY, ALL_MEASURED = 0, 1, 2


def main(arguments):
    with open(arguments[1], "rb") as file:
        model = Model(file.read())
    cells = model.golden
    if len(arguments) > 2:
        # [{"profile", "genes", "values", "total", "present": [0 or 1 per gene] or null}]
        with open(arguments[2], encoding="utf-8") as file:
            cells = json.load(file)
    json.dump(
        {
            "dtype": {F32: "f32", F16: "f16", INT8: "int8", MIXED: "mixed"}[model.dtype],
            "model_id": model.model_id.hex(),
            "sections": [list(key) for key in model.sections],
            "cells": [model.run(cell) for cell in cells],
        },
        sys.stdout,
    )
    print()


def require(condition, message):
    if not condition:
        sys.exit(f"not a valid .cic file: {message}")


class Reader:
    """Takes fields off the front of a section."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, code, n=None):
        """`n` little-endian numbers padded to 4 bytes, or a single number where `n` is None."""
        size = struct.calcsize("<" + code) * (1 if n is None else n)
        chunk = self.data[self.at : self.at + size]
        require(len(chunk) == size, f"a section ends {size - len(chunk)} bytes early")
        self.at += size
        padding = self.data[self.at : self.at + -size % 4]
        require(len(padding) == -size % 4 and not any(padding), "array padding is not zero")
        self.at += len(padding)
        values = struct.unpack(f"<{1 if n is None else n}{code}", chunk)
        return values[0] if n is None else list(values)

    def text(self, n):
        return bytes(self.take("B", n))

    def strings(self):
        count, n_bytes = self.take("I", 2)
        ends = self.take("I", count)
        content = self.text(n_bytes)
        require(ends == sorted(ends) and (ends[-1:] or [0]) == [n_bytes], "string table ends")
        return [content[a:b].decode("utf-8") for a, b in zip([0] + ends, ends)]

    def finish(self, name):
        require(self.at == len(self.data), f"{name}: {len(self.data) - self.at} bytes too many")


class Layer:
    """One layer: shape, layout, segments as (length, activation), weights as rows."""

    def __init__(self, fields):
        self.in_dim, self.out_dim, n, self.carry, self.block, self.panel, self.own, *zeros = fields[:8]
        self.segments = [tuple(fields[8 + 2 * i : 10 + 2 * i]) for i in range(n)]
        require(not any(zeros) and not any(fields[8 + 2 * n :]), "graph: fields that must be zero")
        require(
            sum(length for length, _ in self.segments) + self.carry == self.out_dim,
            "graph: segments and carry do not add up",
        )

    def unpack_weights(self, data, dtype):
        code, size = {F32: ("f", 4), F16: ("e", 2), INT8: ("b", 1)}[dtype]
        panels, blocks = -(-self.out_dim // self.panel), -(-self.in_dim // self.block)
        n = panels * self.panel * blocks * self.block
        require(len(data) == n * size, "length of the weights")
        flat = struct.unpack(f"<{n}{code}", data)
        block, panel = self.block, self.panel
        rows = [
            [
                flat[(r // panel) * panel * blocks * block + (c // block) * block * panel
                     + (r % panel) * block + c % block]
                for c in range(self.in_dim)
            ]
            for r in range(self.out_dim)
        ]
        total = sum(1 for w in flat if w != 0)
        require(total == sum(1 for row in rows for w in row if w != 0), "padding weights")
        if dtype == INT8:
            require(min(map(min, rows)) >= -127, "a weight of -128")
        self.rows = rows
        self.plain = struct.pack(
            f"<{self.out_dim * self.in_dim}{code}", *(w for row in rows for w in row)
        )


class Model:
    def __init__(self, data):
        self.sections = read_container(data)
        self.read_info()
        self.read_graph()
        self.read_genes()
        self.profiles = [self.read_profile(p) for p in range(self.n_profiles)]
        self.read_layers()
        self.read_labels()
        reader = Reader(self.sections[RULES, 0])
        _, _, _, _, self.beta, *zeros = reader.take("I", 8)
        require(not any(zeros), "rules: fields that must be zero")
        reader.finish("rules")
        reader = Reader(self.sections[PROVENANCE, 0])
        keys, values = reader.strings(), reader.strings()
        require(keys == sorted(set(keys)) and len(keys) == len(values), "provenance keys")
        reader.finish("provenance")
        self.read_confidence()
        self.read_novelty()
        self.read_rows()
        self.read_golden()
        self.check_model_id()
        if self.dtype == INT8:
            self.check_bounds()

    # --- the sections ---

    def read_info(self):
        reader = Reader(self.sections[INFO, 0])
        self.dtype, self.n_genes, self.code_dim, self.n_leaves, self.n_profiles = reader.take("I", 5)
        self.n_layers = reader.take("I", 3)
        self.model_id = reader.text(32)
        reader.finish("info")
        require(self.dtype in (F32, F16, INT8, MIXED), f"dtype {self.dtype}")
        require(self.n_genes > 0 < self.code_dim and 1 <= self.n_profiles <= 4, "info: dimensions")
        require(self.n_layers[0] > 0, "info: no encoder")
        require((self.n_layers[1] > 0) == (self.n_leaves > 0), "info: classifier and leaves")

    def read_graph(self):
        n = sum(self.n_layers)
        require(n <= 16, "more than 16 layers")
        fields = struct.unpack(f"<{16 * n}I", self.sections[GRAPH, 0])
        self.layers = [Layer(fields[16 * i : 16 * i + 16]) for i in range(n)]
        encoder, classifier, _ = self.n_layers
        self.stages = [
            self.layers[:encoder],
            self.layers[encoder : encoder + classifier],
            self.layers[encoder + classifier :],
        ]
        dims = [(self.n_genes, self.code_dim), (self.code_dim, self.n_leaves),
                (self.code_dim, self.n_genes)]
        for stage, (first, last) in zip(self.stages, dims):
            for i, layer in enumerate(stage):
                is_last = i + 1 == len(stage)
                before = first if i == 0 else stage[i - 1].out_dim - stage[i - 1].carry
                require(layer.in_dim == before, "graph: inputs of a layer")
                require(layer.carry in ((0, last) if i == 0 and not is_last else (0,)),
                        "graph: carry")
                if is_last:
                    require(layer.out_dim == last, "graph: outputs of a stage")
                    require(all(a == 0 for _, a in layer.segments), "graph: last layer")

    def read_genes(self):
        reader = Reader(self.sections[GENES, 0])
        id_kind, duplicates, n_genes, n_aliases = reader.take("I", 4)
        require(id_kind in (1, 2, 3) and duplicates in (1, 2, 3), "genes: kinds")
        require(n_genes == self.n_genes, "genes: number")
        self.shares = reader.take("I", n_genes)
        require(sum(self.shares) == 1 << 30, "genes: shares do not sum to 2^30")
        orders = [reader.take("I", n_genes) for _ in range(2)]
        alias_genes = reader.take("I", n_aliases)
        require(all(gene < n_genes for gene in alias_genes), "genes: alias of an unknown gene")
        names = [reader.strings(), reader.strings()]
        aliases = reader.strings()
        for order, name in zip(orders, names):
            require(sorted(order) == list(range(n_genes)), "genes: order")
            keys = [name[i].encode() for i in order]
            require(keys == sorted(keys), "genes: order of names")
        require(len(set(names[0])) == n_genes, "genes: ids are not unique")
        require(len(aliases) == n_aliases, "genes: aliases")
        require([a.encode() for a in aliases] == sorted(a.encode() for a in aliases), "aliases")
        reader.finish("genes")

    def read_profile(self, index):
        reader = Reader(self.sections[PROFILE, index])
        profile = {}
        profile["kind"], profile["library"], profile["target"], profile["shift"] = reader.take("I", 4)
        profile["scale"], profile["offset"] = reader.take("f", 2)
        n_thresholds, n_limits = reader.take("I", 2)
        require(n_thresholds == (127 if self.dtype == INT8 else 0), "profile")
        require(n_limits == 0 or (n_limits == self.n_genes and profile["kind"] != LOG2_INTENSITY),
                "profile: number of limits")
        is_scaled = profile["kind"] in (COUNTS, LINEAR_NORMALISED)
        require(profile["kind"] in (1, 2, 3, 4, 5) and profile["library"] in (0, 1, 2), "profile")
        require(is_scaled == (profile["library"] != NO_LIBRARY), "profile: library")
        require(is_scaled == (profile["target"] != 0), "profile: target sum")
        profile["name"] = reader.text(32).rstrip(b"\0").decode("utf-8")
        profile["fill"] = reader.take("f", self.n_genes)
        profile["limits"] = reader.take("f", n_limits)
        require(all(0 <= limit < math.inf for limit in profile["limits"]), "profile: limits")
        if self.dtype == INT8:
            profile["count_thresholds"] = reader.take("I", 127)
            profile["value_thresholds"] = reader.take("f", 127)
            levels = reader.take("B", self.n_genes + n_limits)
            require(all(level <= 127 for level in levels), "fill levels and level limits")
            profile["fill_levels"] = levels[: self.n_genes]
            profile["level_limits"] = levels[self.n_genes :]
            if profile["kind"] == LOG2_INTENSITY:
                profile["gene_offsets"] = reader.take("f", self.n_genes)
                profile["gene_gains"] = reader.take("f", self.n_genes)
                require(all(map(math.isfinite, profile["gene_offsets"])), "profile: gene offset")
                require(all(0 < gain < math.inf for gain in profile["gene_gains"]),
                        "profile: gene gain")
            for thresholds in (profile["count_thresholds"], profile["value_thresholds"]):
                require(thresholds == sorted(thresholds), "profile: order of the thresholds")
            require(profile["target"] << profile["shift"] < 1 << 32, "profile: shift")
            lowest = profile["count_thresholds"][0] if profile["kind"] == COUNTS else 1
            require(lowest >= 1, "profile: a count of zero has a level")
            if profile["kind"] != LOG2_INTENSITY:
                require(profile["offset"] == 0 < profile["value_thresholds"][0],
                        "profile: zero is not level 0")
        reader.finish(f"profile {index}")
        return profile

    def read_layers(self):
        self.epilogues = {}
        for i, layer in enumerate(self.layers):
            mixed = self.dtype == MIXED
            require(layer.own in ((F32, F16, INT8) if mixed else (0,)), "graph: type of weights")
            layer.unpack_weights(self.sections[WEIGHTS, i], layer.own if mixed else self.dtype)
            layer.index = i
            n = layer.out_dim
            for profile in range(self.n_profiles if self.dtype == INT8 and i == 0 else 1):
                reader = Reader(self.sections[EPILOGUE, i + 65536 * profile])
                if self.dtype == INT8:
                    epilogue = reader.take("i", n), reader.take("i", n), reader.take("B", n)
                    for multiplier, shift in zip(*epilogue[1:]):
                        require_ratio(multiplier, shift)
                else:
                    epilogue = (reader.take("f", n),)
                    if layer.own == INT8:
                        scales = reader.take("f", n)
                        require(all(0 < scale < math.inf for scale in scales), "scale of a row")
                        layer.rows = [[w * scale for w in row]
                                      for row, scale in zip(layer.rows, scales)]
                reader.finish("epilogue")
                self.epilogues[i, profile] = epilogue
        if self.dtype != INT8:
            return
        for layer in (layer for stage in self.stages for layer in stage[:-1]):
            reader = Reader(self.sections[TABLES, layer.index])
            layer.tables = []
            for _ in layer.segments:
                reader.take("f", 2)
                layer.tables.append(reader.take("B", 256))
            require(all(level <= 127 for table in layer.tables for level in table), "tables")
            reader.finish("tables")
        reader = Reader(self.sections[CODE, 0])
        self.code_scales = reader.take("f", self.code_dim)
        self.code_levels = (reader.take("i", self.code_dim), reader.take("i", self.code_dim),
                            reader.take("B", self.code_dim))
        reader.finish("code")
        if self.stages[2]:
            reader = Reader(self.sections[RECONSTRUCTION, 0])
            self.reconstruction_scales = reader.take("f", self.n_genes)
            reader.finish("reconstruction")

    def read_labels(self):
        reader = Reader(self.sections[LABELS, 0])
        n_nodes, n_parents = reader.take("I", 2)
        leaves, ends = reader.take("I", self.n_leaves), reader.take("I", n_nodes)
        parents = reader.take("I", n_parents)
        require(leaves == sorted(set(leaves)), "labels: leaves")
        require(all(leaf < n_nodes for leaf in leaves), "labels: leaves")
        require(ends == sorted(ends) and (ends[-1:] or [0]) == [n_parents], "labels: parents")
        for child, (a, b) in enumerate(zip([0] + ends, ends)):
            require(all(parent < child for parent in parents[a:b]), "labels: parents")
        names, ontology, release = reader.strings(), reader.strings(), reader.strings()
        require(len(names) == len(ontology) == n_nodes and len(release) == 1, "labels: names")
        reader.finish("labels")
        self.labels = [names[leaf] for leaf in leaves]

    def read_rows(self):
        if (ROWS, 0) not in self.sections:
            return
        reader = Reader(self.sections[ROWS, 0])
        for n in reader.take("I", 4):
            digests = [reader.text(8) for _ in range(n)]
            require(digests == sorted(digests), "rows: digests are not ascending")
        reader.finish("rows")

    def read_golden(self):
        reader = Reader(self.sections[GOLDEN, 0])
        n_cells, profile, encoding, nnz = reader.take("I", 4)
        indptr = reader.take("I", n_cells + 1)
        genes = reader.take("I", nnz)
        require(encoding in (1, 2), "golden: encoding")
        values = reader.take("I" if encoding == 1 else "f", nnz)
        totals = reader.take("I" if encoding == 1 else "f", n_cells)
        number = "i" if self.dtype == INT8 else "f"
        codes = reader.take(number, n_cells * self.code_dim)
        logits = reader.take(number, n_cells * self.n_leaves)
        reader.finish("golden")
        self.golden = []
        for i, (a, b) in enumerate(zip(indptr, indptr[1:])):
            require(genes[a:b] == sorted(set(genes[a:b])), "golden: genes are not ascending")
            self.golden.append({
                "profile": profile, "genes": genes[a:b], "values": values[a:b],
                "total": totals[i],
                "stored_code": codes[i * self.code_dim : (i + 1) * self.code_dim],
                "stored_logits": logits[i * self.n_leaves : (i + 1) * self.n_leaves],
            })

    def read_confidence(self):
        self.betas = None
        if (CONFIDENCE, 0) not in self.sections:
            return
        reader = Reader(self.sections[CONFIDENCE, 0])
        reader.take("I", 1)
        reader.take("i", 2)
        self.betas = reader.take("I", 16)
        require(all(beta > 0 for beta in self.betas), "confidence: temperature")
        reader.finish("confidence")

    def read_novelty(self):
        self.novelty = None
        if (NOVELTY, 0) not in self.sections:
            return
        reader = Reader(self.sections[NOVELTY, 0])
        n = {}
        n["type_dims"], dims, n_noise, n_pairs = reader.take("I", 4)
        require(1 <= n["type_dims"] <= dims <= 128 >= self.code_dim and self.n_leaves > 0, "novelty: dimensions")
        n["pair_limit"], n["least_share"] = reader.take("i", 1), reader.take("I", 1)
        n["offsets"] = reader.take("i", dims)
        n["noise_limits"] = reader.take("i", n_noise)
        n["type_limits"] = reader.take("I", self.n_leaves)
        n["rest_scales"] = reader.take("I", self.n_leaves)
        n["rest_limits"] = reader.take("I", 64)
        require(all(0 <= e < math.inf for e in reader.take("f", 64)), "novelty: error limits")

        def table(rows, columns):
            flat = reader.take("h", rows * columns)
            return [flat[i * columns : (i + 1) * columns] for i in range(rows)]

        n["weights"] = table(dims, self.code_dim)
        n["places"] = [table(self.n_leaves, n["type_dims"]), table(n_noise, dims),
                       table(n_pairs, dims)]
        n["shifts"] = reader.take("B", dims)
        reader.finish("novelty")
        require(all(sum(map(abs, row)) <= 49151 for row in n["weights"]), "novelty: weights")
        require(all(abs(o) <= 1 << 20 for o in n["offsets"]), "novelty: offsets")
        require(all(limit >= 0 for limit in n["noise_limits"]), "novelty: limits of noise")
        require(all(shift <= 30 for shift in n["shifts"]), "novelty: shifts")
        require(all(abs(x) <= 2047 for t in n["places"] for row in t for x in row), "places")
        self.novelty = n

    def likeness(self, code, n_counts):
        """Numerics, section 8."""
        n = self.novelty
        place = []
        for row, shift, offset in zip(n["weights"], n["shifts"], n["offsets"]):
            total = sum(w * c for w, c in zip(row, code))
            moved = (total + ((1 << shift) >> 1) >> shift) + offset
            place.append(min(max(moved, -2047), 2047))

        def distances(places, of):
            return [sum((a - b) ** 2 for a, b in zip(row, of)) for row in places]

        types, rest = place[: n["type_dims"]], place[n["type_dims"] :]
        to_types = distances(n["places"][0], types)
        nearest = to_types.index(min(to_types))
        rest_distance = sum(x * x for x in rest)
        depth = min(n_counts, (1 << 32) - 1)
        octave = max(depth.bit_length() - 1, 0)
        step = 2 * octave + (depth >> (octave - 1) & 1 if octave else 0)
        rest_limit = n["rest_limits"][step] * n["rest_scales"][nearest] >> 16
        noise, pairs = n["places"][1:]
        nearer = [min(to_types) + rest_distance - d for d in distances(noise, place)]
        nearer = [margin - limit for margin, limit in zip(nearer, n["noise_limits"])]
        noise_margin = max([-(1 << 31)] + nearer)
        pair_margin = min(to_types) + rest_distance - min(distances(pairs, place)) \
            if pairs else -(1 << 31)
        return {"place": place, "nearest": nearest, "type_distance": to_types[nearest],
                "rest_distance": rest_distance, "rest_limit": min(rest_limit, (1 << 32) - 1),
                "noise_margin": noise_margin, "pair_margin": pair_margin}

    def check_model_id(self):
        digest = hashlib.sha256()
        for (kind, index), content in self.sections.items():
            if kind >= ANCILLARY:
                continue
            if kind == INFO:
                content = content[:32] + bytes(32)
            elif kind == GRAPH:
                content = bytearray(content)
                for i, layer in enumerate(self.layers):
                    struct.pack_into("<II", content, 64 * i + 16, layer.in_dim, 1)
            elif kind == WEIGHTS:
                content = self.layers[index].plain
            digest.update(struct.pack("<IIQ", kind, index, len(content)) + bytes(content))
        require(digest.digest() == self.model_id, f"model id, computed {digest.hexdigest()}")

    def check_bounds(self):
        """Numerics, section 3."""
        for stage in self.stages:
            for profile in range(self.n_profiles if stage is self.stages[0] else 1):
                carried = []
                for i, layer in enumerate(stage):
                    at = layer.index, profile if layer.index == 0 else 0
                    bias, multipliers, shifts = self.epilogues[at]
                    bounds = [127 * sum(map(abs, row)) + abs(b)
                              for b, row in zip(bias, layer.rows)]
                    if i > 0 and i + 1 == len(stage) and carried:
                        bounds = [a + b for a, b in zip(bounds, carried)]
                    for r, bound in enumerate(bounds):
                        require(bound < 1 << 31, f"layer {layer.index}, row {r} can overflow")
                    if layer.carry:
                        carried = [requantize(*row) + 1
                                   for row in zip(bounds, multipliers, shifts)][-layer.carry:]

    # --- the numbers ---

    def run(self, cell):
        """None for a cell without a library to divide by."""
        require(cell["profile"] < self.n_profiles, "profile of the cells")
        profile = self.profiles[cell["profile"]]
        present = cell.get("present")
        library = self.library(cell, profile, present)
        is_limited = profile["kind"] == COUNTS
        if library is not None and (library <= 0 or (is_limited and library >= 1 << 32)):
            return None
        if self.dtype == INT8:
            result = self.run_int8(cell, present, profile, library)
        else:
            result = self.run_float(cell, present, profile, library)
        if "stored_code" in cell:
            result["stored"] = {"code": cell["stored_code"], "logits": cell["stored_logits"]}
        if self.n_leaves:
            result["label"] = self.labels[result["logits"].index(max(result["logits"]))]
        return result

    def library(self, cell, profile, present):
        """Library size of a sample, None where the profile uses none. Numerics, section 1."""
        if profile["library"] == NO_LIBRARY:
            return None
        if profile["library"] == ALL_MEASURED:
            return cell["total"]
        q = sum(s for g, s in enumerate(self.shares) if present is None or present[g])
        total = 0
        for value in cell["values"]:
            total += value
        if profile["kind"] == COUNTS:
            return (total << 30) // q if q else 0
        return total * 2.0**30 / max(q, 1)

    def beta_of(self, present):
        """Reciprocal of the temperature, by what the file has of the library."""
        if self.betas is None or present is None or all(present):
            return self.beta
        return self.betas[min(sum(s for s, p in zip(self.shares, present) if p) >> 26, 15)]

    def run_float(self, cell, present, profile, library):
        inputs = [0.0] * self.n_genes
        for gene, value in zip(cell["genes"], cell["values"]):
            if profile["kind"] in (COUNTS, LINEAR_NORMALISED):
                value = math.log1p(value * profile["target"] / library)
            inputs[gene] = min(value, profile["limits"][gene]) if profile["limits"] else value
        inputs = filled(inputs, profile["fill"], present)

        def stage(layers, values):
            carried = []
            for i, layer in enumerate(layers):
                bias = self.epilogues[layer.index, 0][0]
                sums = [b + math.fsum(w * v for w, v in zip(row, values) if v)
                        for b, row in zip(bias, layer.rows)]
                if i + 1 == len(layers):
                    return [s + c for s, c in zip(sums, carried)] if carried else sums
                if i == 0:
                    carried = sums[layer.out_dim - layer.carry :] if layer.carry else []
                kinds = [a for length, a in layer.segments for _ in range(length)]
                values = [ACTIVATIONS[a](s) for a, s in zip(kinds, sums)]

        code = stage(self.stages[0], inputs)
        logits = stage(self.stages[1], code) if self.n_leaves else []
        exponentials = [math.exp((z - max(logits)) * self.beta_of(present) / 65536) for z in logits]
        result = {"code": code, "logits": logits,
                  "probabilities": [e / sum(exponentials) for e in exponentials]}
        if self.stages[2]:
            result["reconstruction"] = stage(self.stages[2], code)
        return result

    def run_int8(self, cell, present, profile, library):
        levels = [0] * self.n_genes
        for gene, value in zip(cell["genes"], cell["values"]):
            levels[gene] = level(profile, gene, value, library)
            if profile["level_limits"]:
                levels[gene] = min(levels[gene], profile["level_limits"][gene])
        levels = filled(levels, profile["fill_levels"], present)

        def stage(layers, values, low, high):
            carried = []
            for i, layer in enumerate(layers):
                at = layer.index, cell["profile"] if layer.index == 0 else 0
                bias, multipliers, shifts = self.epilogues[at]
                inputs = [(c, v) for c, v in enumerate(values) if v]
                sums = [b + sum(row[c] * v for c, v in inputs)
                        for b, row in zip(bias, layer.rows)]
                if i > 0 and i + 1 == len(layers) and carried:
                    sums = [s + c for s, c in zip(sums, carried)]
                require(all(-(1 << 31) <= s < 1 << 31 for s in sums), "a sum overflowed")
                scaled = list(map(requantize, sums, multipliers, shifts))
                if i + 1 == len(layers):
                    return [min(max(s, low), high) for s in scaled]
                hidden = layer.out_dim - layer.carry
                if layer.carry:
                    carried = [clamp32(s) for s in scaled[hidden:]]
                tables = [t for (n, _), t in zip(layer.segments, layer.tables) for _ in range(n)]
                values = [t[min(max(s, -128), 127) + 128] for t, s in zip(tables, scaled)]

        code = stage(self.stages[0], levels, -(1 << 15), (1 << 15) - 1)
        copy = [min(max(requantize(c + offset, multiplier, shift), 0), 127)
                for c, offset, multiplier, shift in zip(code, *self.code_levels)]
        logits = stage(self.stages[1], copy, -(1 << 31), (1 << 31) - 1) if self.n_leaves else []
        result = {"code": code, "code_levels": copy, "logits": logits,
                  "probabilities": softmax_q16(logits, self.beta_of(present))}
        if self.novelty:
            is_counted = profile["kind"] == COUNTS
            result["likeness"] = self.likeness(code, sum(cell["values"]) if is_counted else 0)
        if self.stages[2]:
            result["reconstruction"] = stage(self.stages[2], copy, -(1 << 15), (1 << 15) - 1)
        return result


def read_container(data):
    """The sections by (kind, index), after every check of the header and the digests."""
    require(data[:8] == MAGIC and len(data) >= 96, "magic or length")
    version, n_sections, length, n_signature, zero = struct.unpack("<IIQII", data[8:32])
    require((version, length, zero) == (1, len(data), 0), "header")
    require(1 <= n_sections <= 256 and n_signature in (0, 64), "header")
    require(hashlib.sha256(data[:-32]).digest() == data[-32:], "the digest of the file")
    table_end = 64 + 24 * n_sections
    metadata = hashlib.sha256(data[:32] + data[64:table_end])
    sections, end = {}, table_end
    for i in range(n_sections):
        kind, index, offset, length = struct.unpack("<IIQQ", data[64 + 24 * i : 88 + 24 * i])
        require(not sections or (kind, index) > max(sections), "section table: order")
        require(kind in range(1, 17) or kind >= ANCILLARY, f"section kind {kind}")
        require(offset == end + -end % 64, f"section {kind}, {index}: offset")
        require(not any(data[end:offset]), "padding between sections")
        end = offset + length
        sections[kind, index] = data[offset:end]
        if kind != WEIGHTS:
            metadata.update(data[offset:end])
    body_end = end + -end % 64
    require(not any(data[end:body_end]), "padding after the last section")
    require(len(data) == body_end + n_signature + 32, "length of the file")
    require(metadata.digest() == data[32:64], "the metadata digest")
    return sections


def require_ratio(multiplier, shift):
    is_zero = (multiplier, shift) == (0, 0)
    require(is_zero or (multiplier >= 1 << 30 and shift <= 62), f"ratio {multiplier}, {shift}")


def filled(values, fill, present):
    if present is None:
        return values
    return [v if here else f for v, f, here in zip(values, fill, present)]


def level(profile, gene, value, library):
    """Numerics, section 2."""
    if profile["kind"] == COUNTS:
        scaled = value * (profile["target"] << profile["shift"])
        return sum(scaled >= t * library for t in profile["count_thresholds"])
    if profile["kind"] == LINEAR_NORMALISED:
        value = f32(f32(value) * f32(profile["target"] / library))
    if profile["kind"] == LOG2_INTENSITY:
        # A sum or product of two singles, rounded to double and then to single, is rounded right.
        value = f32(f32(value) - profile["gene_offsets"][gene])
        value = f32(value * profile["gene_gains"][gene])
    return sum(value >= t for t in profile["value_thresholds"])


def requantize(a, multiplier, shift):
    return (a * multiplier + (1 << shift >> 1)) >> shift


def clamp32(a):
    return min(max(a, -(1 << 31)), (1 << 31) - 1)


def softmax_q16(logits, beta):
    """Numerics, section 6."""
    exponentials = []
    for z in logits:
        d = (((max(logits) - z) * beta >> 16) + 128) >> 8
        if d >= 16 * 256:
            exponentials.append(0)
            continue
        whole = round(math.exp(-(d >> 8)) * 2**31)
        part = round(math.exp(-(d & 255) / 256) * 2**16)
        exponentials.append((whole * part + (1 << 15)) >> 16)
    return [(e << 16) // sum(exponentials) for e in exponentials]


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


ACTIVATIONS = {
    0: lambda x: x,
    1: lambda x: max(x, 0.0),
    2: lambda x: 1 / (1 + math.exp(-x)),
    3: lambda x: min(x, 0.0) - math.log1p(math.exp(-abs(x))),
    4: math.tanh,
    5: lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    6: lambda x: math.copysign(max(abs(x) - 0.5, 0.0), x),
}

if __name__ == "__main__":
    main(sys.argv)
