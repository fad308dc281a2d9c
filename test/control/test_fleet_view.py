# Copyright 2026 The edge_dnn_partition authors
# SPDX-License-Identifier: Apache-2.0
"""What the scheduler believes of the fleet: who is alive, how fast, how well connected; time is passed in."""

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from edge_dnn_partition.control.state.fleet_view import FleetView
from edge_dnn_partition.planning.fleet.fleet import parse_fleet
from edge_dnn_partition.planning.plans.profile import Profile
from edge_dnn_partition.sensing.contention import Quota
from edge_dnn_partition.sensing.link import LinkEstimate

FLEET = parse_fleet({
    'source': 'pi', 'devices': {'pi': {}, 'jetson': {}, 'cloud': {}},
    'links': [{'between': ['pi', 'jetson'], 'rate': '1 kB/s', 'delay': '0.5 s'}, {'between': ['jetson', 'cloud'], 'rate': '2 kB/s'}],
})  # fmt: skip
PROFILE = Profile('m', 'pi', 'CPUExecutionProvider', 1, (0, 4), (0.1,), ())
NAN = math.nan


@pytest.fixture
def view():
    return FleetView(FLEET, heartbeat_timeout=1.0)


def rate(number, latency=0.0):
    return LinkEstimate(number, latency, measured=True)


def test_who_is_missing_at_the_start(view):
    assert view.missing(0.0) == (('pi', 'jetson', 'cloud'), ())
    view.on_heartbeat('cloud', 5, NAN, 10.0)
    view.on_heartbeat('pi', 6, NAN, 10.0)
    view.devices['pi'].profile = PROFILE
    assert view.missing(10.5) == (('jetson',), ('cloud',))
    assert view.missing(20.0) == (('pi', 'jetson', 'cloud'), ()), 'a worker that is gone is not waited for to profile'


def test_a_device_is_alive_from_its_first_sign_of_life_until_the_timeout(view):
    assert view.alive(0.0) == ()
    view.on_heartbeat('cloud', 5, NAN, 10.0)
    view.on_heartbeat('pi', 6, NAN, 10.5)
    assert view.alive(11.0) == ('pi', 'cloud'), 'not in the order of the fleet file'
    assert view.alive(11.01) == ('pi',)
    view.heartbeat_timeout = 3.0
    assert view.alive(11.01) == ('pi', 'cloud')
    assert view.alive(14.0) == ()


def test_who_is_ready_has_a_profile_too(view):
    view.on_heartbeat('pi', 5, NAN, 1.0)
    view.on_heartbeat('cloud', 6, NAN, 1.0)
    assert view.ready(1.0) == ()
    view.devices['cloud'].profile = view.devices['jetson'].profile = PROFILE
    assert view.ready(1.0) == ('cloud',)


def test_a_worker_that_starts_anew_is_noticed_once(view):
    assert [view.on_heartbeat('pi', number, NAN, float(i)) for i, number in enumerate((7, 7, 8, 8, 7))] == [
        False, False, True, False, True,
    ]  # fmt: skip
    assert not view.on_heartbeat('cloud', 8, NAN, 5.0)


def test_a_start_anew_forgets_the_factors_but_not_the_profile_and_the_links(view):
    for device in ('pi', 'jetson'):
        view.on_heartbeat(device, 1, 2.0, 0.0)
        view.on_stage(device, 0.4, 0.1, 0.0)
        view.on_preprocessing(device, 0.6, 0.1, 0.0)
        view.devices[device].profile = PROFILE
    view.on_link('pi', 'jetson', 1, rate(9.0), 0.0, 0.0)
    assert view.factors(1.0) == {'pi': 4.0, 'jetson': 4.0, 'cloud': 1.0}
    view.on_heartbeat('pi', 2, 3.0, 1.0)
    assert view.factors(1.0) == {'pi': 3.0, 'jetson': 4.0, 'cloud': 1.0}
    assert not view.devices['pi'].decode.measured(1.0)
    assert view.devices['jetson'].decode.measured(1.0)
    assert view.devices['pi'].profile is PROFILE
    assert view.links()['pi', 'jetson'] == rate(9.0)


def test_a_stage_counts_more_than_probes_while_it_is_recent(view):
    for now in range(3):
        view.on_heartbeat('pi', 1, 2.0, float(now))
    view.on_heartbeat('pi', 1, NAN, 2.5)
    assert view.factors(3.0)['pi'] == 2.0, 'no probe was read'
    view.on_stage('pi', 0.3, 0.1, 3.0)
    view.on_stage('pi', 0.3, 0.0, 3.1)
    assert view.factors(6.0)['pi'] == pytest.approx(3.0)
    assert view.factors(6.01)['pi'] == 2.0
    view.on_stage('jetson', 0.5, 0.1, 3.0)
    assert view.factors(3.0)['jetson'] == pytest.approx(5.0), 'it needs no heartbeat'


def test_what_a_busy_device_took_to_decode_is_not_held_against_it_when_it_is_free(view):
    for device in view.devices:
        view.on_heartbeat(device, 1, 1.0, 0.0)
    for step in range(5):
        view.on_preprocessing('jetson', 0.5 * 1.2, 0.1, float(step), slower=5.0)
        view.on_stage('jetson', 0.5, 0.1, float(step))
    assert view.preprocessing_factors(4.0)['jetson'] == pytest.approx(6.0)
    assert view.preprocessing_factors(10.0)['jetson'] == pytest.approx(1.2), 'the images are as hard as they were'


def test_preprocessing_has_a_factor_of_its_own_for_a_minute(view):
    for device, probe in (('pi', 2.0), ('jetson', 4.0), ('cloud', 1.0)):
        view.on_heartbeat(device, 1, probe, 0.0)
    assert view.preprocessing_factors(0.0) == {'pi': 2.0, 'jetson': 4.0, 'cloud': 1.0}
    view.on_preprocessing('pi', 0.6, 0.1, 0.0)
    assert view.preprocessing_factors(60.0) == pytest.approx({'pi': 6.0, 'jetson': 12.0, 'cloud': 3.0})
    assert view.factors(60.0)['pi'] == 2.0
    assert view.preprocessing_factors(60.1) == {'pi': 2.0, 'jetson': 4.0, 'cloud': 1.0}


def test_who_has_not_decoded_finds_images_as_hard_as_most_of_those_who_have(view):
    fleet = parse_fleet({'source': 'a', 'devices': {name: {} for name in 'abcd'}})
    view = FleetView(fleet)
    for device in 'abcd':
        view.on_heartbeat(device, 1, 2.0, 0.0)
    for device, hardness in (('a', 1.0), ('b', 3.0), ('c', 50.0)):
        view.on_preprocessing(device, 2.0 * hardness * 0.1, 0.1, 1.0)
    assert view.preprocessing_factors(1.0) == pytest.approx({'a': 2.0, 'b': 6.0, 'c': 100.0, 'd': 6.0})


def test_links_are_the_fleet_files_guesses_until_they_are_measured(view):
    guesses = {
        ('pi', 'jetson'): LinkEstimate(1000.0, 0.5, measured=False), ('jetson', 'pi'): LinkEstimate(1000.0, 0.5, measured=False),
        ('jetson', 'cloud'): LinkEstimate(2000.0, 0.0, measured=False), ('cloud', 'jetson'): LinkEstimate(2000.0, 0.0, measured=False),
    }  # fmt: skip
    assert view.links() == guesses
    view.on_link('pi', 'jetson', 1, rate(10.0, 0.1), 0.0, 1.0)
    assert view.links() == guesses | {('pi', 'jetson'): rate(10.0, 0.1)}, 'a link is measured in one direction'


def test_the_newest_measurement_of_a_link_counts_whoever_made_it(view):
    view.on_link('pi', 'jetson', 1, rate(10.0), age_seconds=2.0, now=10.0)
    view.on_link('pi', 'jetson', 2, rate(20.0), age_seconds=5.0, now=11.0)
    assert view.links()['pi', 'jetson'] == rate(10.0), 'a later report of an older measurement'
    view.on_link('pi', 'jetson', 2, rate(30.0), age_seconds=0.0, now=12.0)
    assert view.links()['pi', 'jetson'] == rate(30.0)
    view.on_link('pi', 'jetson', 1, rate(40.0), age_seconds=0.0, now=13.0)
    assert view.links()['pi', 'jetson'] == rate(40.0)


def test_what_was_not_measured_and_who_is_not_known_change_no_link(view):
    before = view.links()
    for number in (NAN, math.inf, 0.0, -1.0):
        view.on_link('pi', 'jetson', 1, rate(number), 0.0, 1.0)
    view.on_link('pi', 'mars', 1, rate(5.0), 0.0, 1.0)
    assert view.links() == before


def test_a_link_that_the_fleet_file_does_not_name_is_found_by_measuring(view):
    before = view.links()
    view.on_link('pi', 'cloud', 1, rate(5.0), 0.0, 1.0)
    assert view.links() == before | {('pi', 'cloud'): rate(5.0)}
    assert ('pi', 'cloud') in view.scatter(1.0)[1]


def test_a_fleet_whose_links_are_played_has_no_others():
    played = [link.model_copy(update={'emulate': True}) for link in FLEET.links]
    view = FleetView(FLEET.model_copy(update={'links': tuple(played)}))
    before = view.links()
    view.on_link('pi', 'cloud', 1, rate(5.0), 0.0, 1.0)
    assert view.links() == before


def test_processes_that_came_and_went_are_forgotten(view):
    for node in range(50):
        view.on_link('pi', 'jetson', node, rate(1.0 + node), 0.0, float(node))
    assert view.links()['pi', 'jetson'] == rate(50.0)
    assert len(view._links['pi', 'jetson']) <= 4


def test_the_least_certain_device_counts(view):
    for now, seconds in enumerate((0.1, 0.1, 0.1)):
        view.on_stage('pi', seconds, 0.1, now)
    for now, seconds in enumerate((0.1, 0.4, 0.1)):
        view.on_stage('cloud', seconds, 0.1, now)
    assert view.deviation(['pi'], 2.0) == 0.0
    assert view.deviation(['pi', 'cloud'], 2.0) == view.deviation(['cloud'], 2.0) > 0.5
    assert view.deviation(['jetson'], 2.0) == 0.1
    assert view.deviation([], 2.0) == 0.0


def test_telemetry_counts_on_real_hosts_and_not_on_those_that_share_one():
    from edge_dnn_partition.planning.fleet.fleet import parse_fleet
    from edge_dnn_partition.sensing.contention import HostLoad

    fleet = parse_fleet({'source': 'pi', 'devices': {'pi': {'threads': 4}, 'cloud': {'emulate': {'slowdown': 2}}}})
    view = FleetView(fleet)
    for name in fleet.devices:
        view.devices[name].own_cores = 1.0
        view.on_host(name, HostLoad(cores=4, busy_cores=3.0, clock_limit_hertz=1e9, clock_max_hertz=2e9))
    assert view.factors(0.0) == {'pi': pytest.approx(3.0), 'cloud': 1.0}


def test_what_scatters_is_taken_from_what_was_measured_lately(view):
    _, links = view.scatter(0.0)
    assert links[('pi', 'jetson')] == 0.2, 'not what is usual, until it was measured a few times'
    for step in range(30):
        view.on_link('pi', 'jetson', 1, rate(1e6 * math.exp(0.5 * (-1) ** step)), 0.0, float(step))
        view.on_link('jetson', 'cloud', 1, rate(2e6 * (1 + 1e-9 * step)), 0.0, float(step))
    devices, links = view.scatter(30.0)
    assert links[('pi', 'jetson')] == pytest.approx(0.5, rel=0.1)
    assert links[('jetson', 'cloud')] < 1e-6
    assert links[('jetson', 'pi')] == 0.2
    assert set(devices) == {'pi', 'jetson', 'cloud'}


def test_the_signs_are_those_of_a_plan_and_of_the_source(view):
    view.on_heartbeat('pi', 1, 2.0, 0.0)
    for pair in (('pi', 'jetson'), ('jetson', 'pi'), ('jetson', 'cloud')):
        view.on_link(*pair, 1, rate(500.0), 0.0, 0.0)
    assert view.estimates_of(0.0, ('pi', 'jetson')) == {
        'pi': 2.0, 'jetson': 1.0, ('pi', 'jetson'): 500.0, ('jetson', 'pi'): 500.0,
    }  # fmt: skip
    assert view.estimates_of(0.0, ('jetson',)) == view.estimates_of(0.0, ('pi', 'jetson')), 'images come from the pi, whoever runs the model'


def test_a_device_that_was_faster_of_late_may_be_so_again(view):
    device = ('jetson', 'jetson')
    view.on_heartbeat('jetson', 7, 3.0, 0.0)
    assert view.hopes(0.0) == {device: (3.0, 0.25)}, 'as its profile says'
    for tenth in range(40):
        view.on_heartbeat('jetson', 7, 1.25, tenth / 10)
        view.hopes(tenth / 10)
    assert view.hopes(4.0) == {}, 'nearly as its profile says'
    for _ in range(2):
        view.on_heartbeat('jetson', 7, 5.0, 4.1)
    assert view.hopes(4.1) == {device: (pytest.approx(4.0), 1.0)}
    assert view.estimates_of(4.1, ('pi',), [device])['jetson'] == 5.0, 'and it is watched'


UP, DOWN = ('pi', 'jetson'), ('jetson', 'pi')


def test_what_was_measured_a_while_ago_may_be_more_by_now(view):
    for number, bits in enumerate((8e6, 32e6, 8e6, 32e6)):
        view.on_link(*UP, 1, rate(bits / 8), 0.0, number)
        view.on_link(*DOWN, 1, rate(1e6), 0.0, number)
    believed, scatter = view.links()[UP].bytes_per_second, np.std(np.log([1, 4, 1, 4]), ddof=1)
    for age, chance in ((0.0, 0.0), (10.0, 0.1), (30.0, 0.3), (50.0, 0.3)):
        hopes = view.hopes(3.0 + age)
        assert hopes[UP] == (pytest.approx(believed * math.exp(scatter)), pytest.approx(chance))
        assert hopes[DOWN] == (2e6, pytest.approx(chance)), 'where nothing scatters, either'


def test_that_a_link_was_slow_of_late_does_not_hide_what_the_fleet_file_says(view):
    pair = 'jetson', 'cloud'
    for tenth in range(61):
        view.on_link(*pair, 1, rate(800.0 if tenth < 60 else 300.0), 0.0, tenth / 10)
    assert view.hopes(6.0)[pair] == (2e3, 1.0), 'and that it carries more than at present is sure'


def test_a_link_that_scatters_counts_for_less_and_one_that_is_steady_or_was_long_ago_for_what_it_is(view):
    for number in range(12):
        view.on_link(*UP, 1, rate(1e6 * math.exp((-1) ** number * 0.5)), 0.0, number)
        view.on_link(*DOWN, 1, rate(1e6 + number), 0.0, number)
    seen, expected = view.links(), view.expected_links(12.0)
    scatter = np.std([0.5, -0.5] * 6, ddof=1)
    assert expected[UP].bytes_per_second == pytest.approx(seen[UP].bytes_per_second * math.exp(-(scatter**2) / 2))
    assert expected[DOWN] is seen[DOWN]
    assert view.expected_links(12.1)[UP] is expected[UP]
    assert view.expected_links(90.0)[UP] is seen[UP]


def test_a_stage_that_is_overdue_shows_in_the_factor(view):
    view.on_heartbeat('pi', 1, 1.0, 0.0, stage_factor=3.0)
    assert view.factors(0.1)['pi'] == pytest.approx(3.0)
    view.on_heartbeat('pi', 1, 1.0, 0.2)
    assert view.factors(0.2)['pi'] == pytest.approx(1.0)


QUOTA = Quota(0.5, 0.1)


def run_under_quota(seconds, now):
    """Return what a run of one thread takes under half a core, that begins on a full share: period after period."""
    begin = now % 0.1
    first = min(0.05, 0.1 - begin)
    if seconds <= first:
        return seconds
    whole, rest = divmod(seconds - first, 0.05)
    return 0.1 - begin + whole * 0.1 + rest


def test_a_constant_quota_gives_constant_predictions(view):
    """Half a core: a plan with a long stage here, one with a short one, one with none; the factor told is one, within the noise.

    Without the quota in the prediction it was 2.4 with the long stage and 1.0 with the others, and the plan went to and fro.
    """
    view.devices['cloud'].profile = Profile('m', 'cloud', 'CPUExecutionProvider', 1, (0, 4), (0.3,), ())
    random, now, told = Random(4), 0.0, []
    for phase, stage_seconds in enumerate((None, 0.3, 0.02, None, 0.2)):
        for _ in range(25):
            now += 0.4 + 0.1 * random.random()
            used = 0.02 + (stage_seconds or 0.0) / 0.45
            view.devices['cloud'].own_cores = used - 0.02 if now % 2 < 1.5 else 0.0  # told a second late, now and then
            view.devices['cloud'].on_quota(QUOTA, used)
            view.on_heartbeat('cloud', 1, random.uniform(0.97, 1.03), now)
            if stage_seconds is not None:
                view.on_stage('cloud', run_under_quota(stage_seconds, now) * random.uniform(0.97, 1.03), stage_seconds, now)
            told.append((phase, view.factors(now)['cloud']))
    factors = [factor for _, factor in told]
    assert min(factors) > 1.75
    assert max(factors) < 2.15
    assert 0.3 * max(factors) == pytest.approx(0.55, rel=0.15), 'the long stage is predicted as it is on average'


def test_a_quota_that_holds_nothing_back_changes_nothing(view):
    view.devices['cloud'].profile = PROFILE
    view.devices['cloud'].on_quota(Quota(2.0, 0.1), 0.1)
    assert view.factors(0.0)['cloud'] == 1.0
    view.devices['cloud'].on_quota(Quota(0.5, 1.0), 0.1)
    assert view.factors(0.0)['cloud'] == 1.0, 'the whole model takes 0.1 s and has 0.5 s of each second'
    view.devices['cloud'].on_quota(Quota(0.25, 0.1), 0.1)
    assert view.factors(0.0)['cloud'] > 2.0, 'a quota that was changed counts at once'


def test_a_device_that_is_slower_than_its_quota_explains_is_seen(view):
    view.devices['cloud'].profile = Profile('m', 'cloud', 'CPUExecutionProvider', 1, (0, 4), (0.3,), ())
    view.devices['cloud'].on_quota(QUOTA, 0.0)
    usual = view.factors(0.0)['cloud']
    for now in range(3):
        view.on_stage('cloud', 1.9, 0.3, now)
    assert view.factors(2.0)['cloud'] > 2 * usual


def test_a_stage_that_a_quota_halts_is_not_overdue(view):
    view.devices['cloud'].profile = Profile('m', 'cloud', 'CPUExecutionProvider', 1, (0, 4), (0.3,), ())
    view.devices['cloud'].on_quota(QUOTA, 0.0)
    believed = view.factors(1.0)
    view.on_heartbeat('cloud', 1, NAN, 1.0, stage_factor=2.1)
    assert view.factors(1.0) == believed


def test_the_memory_of_a_control_group_bounds_what_is_placed(view):
    assert view.memory_bytes() == dict.fromkeys(('pi', 'jetson', 'cloud'), math.inf)
    view.devices['pi'].memory_total_bytes, view.devices['pi'].least_resident_bytes = 500e6, 150e6
    assert view.memory_bytes()['pi'] == 350e6
    view.devices['pi'].memory_total_bytes = 100e6
    assert view.memory_bytes()['pi'] == 0.0


def test_a_new_profile_is_not_held_against_what_stages_took_over_the_one_before(view):
    guess = replace(PROFILE, relative_error=NAN)
    view.on_profile('pi', guess)
    for now in range(5):
        view.on_stage('pi', 0.4, 0.1, 0.1 * now)
        view.on_preprocessing('pi', 0.4, 0.1, 0.1 * now)
    assert view.factors(0.5)['pi'] == pytest.approx(4.0)
    view.on_profile('pi', PROFILE)
    assert view.factors(0.5)['pi'] == 1.0
    view.on_stage('pi', 0.3, 0.1, 0.6)
    view.on_profile('pi', replace(PROFILE))
    assert view.factors(0.7)['pi'] == pytest.approx(3.0), 'it is the same profile'


def test_of_processes_that_measured_a_link_of_late_the_longest_latency_counts(view):
    view.on_link('pi', 'jetson', 1, LinkEstimate(5e6, 0.4, measured=True), 0.0, 10.0)
    view.on_link('pi', 'jetson', 2, LinkEstimate(4e6, 0.005, measured=True), 0.0, 11.0)
    assert view.links()['pi', 'jetson'] == LinkEstimate(4e6, 0.4, measured=True)
    view.on_link('pi', 'jetson', 2, LinkEstimate(4e6, 0.005, measured=True), 0.0, 14.0)
    assert view.links()['pi', 'jetson'] == LinkEstimate(4e6, 0.005, measured=True)
