# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""The cost model once more, written down from its definition alone, and random cost files."""

import itertools
import random


def plain_costs(document, assignment):
    """Return the costs of an assignment of a cost document as a dictionary, or None if it cannot run.

    A layer's ``joules`` by device, where it has some, stand for active watts times its seconds: the planners have them
    from meters, a cost file does not.
    """
    layers, devices = document['layers'], document['devices']
    links = {(link['from'], link['to']): link for link in document['links']}
    outputs = document.get('outputs')
    if outputs is None:
        read = {i for layer in layers for i in layer['inputs']}
        outputs = [i for i in range(len(layers)) if i not in read]
    compute = dict.fromkeys(devices, 0.0)
    work = dict.fromkeys(devices, 0.0)
    weights = dict.fromkeys(devices, 0)
    for layer, device in zip(layers, assignment):
        if device not in layer['seconds']:
            return None
        compute[device] += layer['seconds'][device]
        modelled = devices[device].get('active_watts', 0.0) * layer['seconds'][device]
        work[device] += layer.get('joules', {}).get(device, modelled)
        weights[device] += layer.get('weight_bytes', 0)
    transfers = set()
    for i, layer in enumerate(layers):
        for tensor in layer['inputs']:
            home = document['source'] if tensor == -1 else assignment[tensor]
            if home != assignment[i]:
                transfers.add((tensor, home, assignment[i]))
    for tensor in outputs:
        if assignment[tensor] != document['sink']:
            transfers.add((tensor, assignment[tensor], document['sink']))
    latency = sum(compute.values())
    air = dict.fromkeys(devices, 0.0)
    channels = {}
    for tensor, home, target in transfers:
        if (home, target) not in links:
            return None
        link = links[home, target]
        size = document['input_bytes'] if tensor == -1 else layers[tensor]['output_bytes']
        seconds = size / link['bytes_per_second']
        latency += link.get('latency_seconds', 0.0) + seconds
        air[home] += seconds
        air[target] += seconds
        channel = link.get('channel')
        key = (home, target) if channel is None else channel
        channels[key] = channels.get(key, 0.0) + seconds
    energy = 0.0
    for name, device in devices.items():
        limit = device.get('memory_bytes')
        if limit is not None and weights[name] > limit:
            return None
        joules = work[name] + device.get('radio_watts', 0.0) * air[name]
        energy += device.get('energy_weight', 1.0) * (joules + device.get('idle_watts', 0.0) * latency)
    bottleneck = max([*compute.values(), *channels.values()])
    return {'latency': latency, 'energy': energy, 'throughput': bottleneck}


def runs(assignment):
    """Return the devices of the maximal runs."""
    return [device for device, _ in itertools.groupby(assignment)]


def brute_force(document, objective, space='any', *, weights=(0.5, 0.5), deadline=None):
    """Return (value, latency, energy, stages, device indices) of the best assignment, or None.

    Under the objective deadline, where no assignment keeps to it, the value is the latency.
    """
    devices = list(document['devices'])
    every = []
    for chosen in itertools.product(range(len(devices)), repeat=len(document['layers'])):
        costs = plain_costs(document, [devices[d] for d in chosen])
        if costs is not None:
            every.append((costs, chosen))
    if not every:
        return None
    if objective == 'balanced':
        home = plain_costs(document, [document['source']] * len(document['layers']))
        zero = home or min(every, key=lambda item: _ranks(item[0], 'latency', item[1]))[0]
        for costs, _ in every:
            costs['balanced'] = sum(w * costs[k] / zero[k] for w, k in zip(weights, ('latency', 'energy')) if zero[k] > 0)
    if space == 'each_device_once':
        every = [item for item in every if len(set(runs(item[1]))) == len(runs(item[1]))]
    if not every:
        return None
    if objective == 'deadline':
        in_time = [item for item in every if item[0]['latency'] <= deadline * (1 + 1e-9)]
        every, objective = (in_time, 'energy') if in_time else (every, 'latency')
    return min(_ranks(costs, objective, chosen) for costs, chosen in every)


def _ranks(costs, objective, chosen):
    rounded = [float(f'{value:.9e}') for value in (costs[objective], costs['latency'], costs['energy'])]
    return (*rounded, len(runs(chosen)), chosen)


def random_document(
    seed, *, nodes, devices, chain=False, ties=False, missing=0.0, memory=False, channels=False, outputs=False, orphans=False
):
    """Return a random cost document; equal arguments, equal document."""
    rng = random.Random(repr((seed, nodes, devices, chain, ties, missing, memory, channels, outputs, orphans)))
    names = [f'd{i}' for i in range(devices)]

    def amount(low, high):
        return float(rng.randint(1, 3)) if ties else rng.uniform(low, high)

    layers = []
    for i in range(nodes):
        if chain:
            inputs = [i - 1]
        elif orphans and rng.random() < 0.2:
            inputs = []
        else:
            inputs = [rng.randint(max(-1, i - 4), i - 1) for _ in range(rng.randint(1, 3))]
        kept = [name for name in names if rng.random() >= missing] or [rng.choice(names)]
        layers.append({
            'name': f'layer{i}', 'inputs': inputs, 'output_bytes': amount(1e3, 1e6), 'weight_bytes': rng.randint(0, 5),
            'seconds': {name: amount(0.001, 0.1) for name in kept},
        })  # fmt: skip
    links = [
        {'from': a, 'to': b, 'bytes_per_second': 1.0 if ties else 10 ** rng.uniform(6, 8),
         'latency_seconds': rng.choice([0.0, 1.0]) if ties else rng.uniform(0, 0.01),
         'channel': rng.choice([None, 'air', 'wire']) if channels else None}
        for a in names for b in names if a != b and rng.random() >= missing / 2
    ]  # fmt: skip
    described = {
        name: {'active_watts': amount(1, 10), 'idle_watts': rng.choice([0.0, 1.0]), 'radio_watts': amount(0, 2),
               'energy_weight': rng.choice([0.0, 1.0, 2.0]),
               'memory_bytes': rng.randint(2, 5 * nodes // 2 + 2) if memory and rng.random() < 0.7 else None}
        for name in names
    }  # fmt: skip
    document = {
        'source': rng.choice(names), 'sink': rng.choice(names), 'input_bytes': amount(1e3, 1e6), 'devices': described,
        'links': links, 'layers': layers,
    }  # fmt: skip
    if outputs:
        document['outputs'] = sorted({rng.randrange(nodes) for _ in range(rng.randint(1, 3))})
    return document


class Reference:
    """What tests are held against."""

    plain_costs = staticmethod(plain_costs)
    brute_force = staticmethod(brute_force)
    random_document = staticmethod(random_document)
    runs = staticmethod(runs)
