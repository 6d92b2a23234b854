"""The ancestors' faults at run time, in configurations and with papa; each with the test that it is not repeated."""

from __future__ import annotations

CIRCUS = "packages/circus/tests/"
JOURNEYS = "tests/journeys/"
LOAD = CIRCUS + "test_config_load.py"
LOGGING = JOURNEYS + "test_page_logging.py"

FAULTS: dict[str, str] = {
    # Lives
    "one watcher's fault strands all later ones":
        CIRCUS + "test_engine.py::test_a_spawn_that_fails_is_said_and_strands_nobody",
    "a death is noticed at the next tick":
        JOURNEYS + "test_main_job.py::test_a_process_that_dies_is_followed_at_once",
    "a program that dies at once is started for ever, without a pause":
        CIRCUS + "test_slot.py::test_a_program_that_cannot_live_is_started_ever_more_slowly",
    "the veto of before_signal is told as a kill":
        CIRCUS + "test_engine.py::test_a_vetoed_signal_is_not_sent_but_the_kill_is",
    "the tail of a process that ends is lost":
        CIRCUS + "test_engine.py::test_an_exit_is_followed_at_once_and_acknowledged_after_its_output",
    "everything is stopped at the same time":
        CIRCUS + "test_engine_leaving.py::test_others_are_stopped_in_reverse_order_of_start",
    "circusd freezes on a process that ignores its signal":
        CIRCUS + "test_engine.py::test_a_process_that_ignores_its_signal_is_killed_when_the_grace_is_over",
    "a second signal to end is a conflict": JOURNEYS + "test_endings.py::test_two_signals_to_end_are_one",
    "two orders at a time: the second is refused":
        CIRCUS + "test_fleet.py::test_an_order_for_one_watcher_does_not_wait_for_an_operation_over_others",
    "on_demand starts what somebody stopped by hand":
        CIRCUS + "test_engine_demand.py::test_a_watcher_stopped_by_hand_is_started_by_nobody",
    "on_demand works for the first watcher only": JOURNEYS + "test_on_demand.py::test_each_connection_starts_it_anew",
    "the stop of flapping is refused and tried for ever":
        JOURNEYS + "test_page_options.py::test_a_flapping_watcher_is_stopped_tried_again_and_given_up_also_with_papa",
    "flapping counts restarts by hand": CIRCUS + "test_slot.py::test_an_ordered_death_costs_nothing_of_the_budget",
    # Hooks
    "a slow hook stops everything": CIRCUS + "test_hooks.py::test_a_hook_that_hangs_counts_as_failed",
    "a hook that raises in extended_stats fails the statistics":
        CIRCUS + "test_hooks.py::test_an_exception_is_contained",
    # Streams
    "lines of several processes are mixed":
        CIRCUS + "test_streams_pump.py::test_a_shared_file_has_whole_lines_in_the_order_of_arrival",
    "a long line has several times in front":
        CIRCUS + "test_streams_render.py::test_a_line_that_comes_in_parts_has_one_prefix",
    "characters are cut at the ends of pieces":
        CIRCUS + "test_streams_lines.py::test_pieces_are_the_data_in_order_and_end_at_line_ends",
    # Configurations
    "use_papa = false is true": CIRCUS + "test_config_build.py::test_fault_2_use_papa_false_is_false",
    "shell = true is no shell": CIRCUS + "test_config_expand.py::test_fault_3_shell_is_a_shell",
    "papa_endpoint does not work": "tests/inventory/test_circusd.py::test_a_circusd_is_as_its_section_says",
    "an unknown rlimit strands all later watchers":
        CIRCUS + "test_config_validate.py::test_fault_5_an_unknown_limit_is_an_error_of_its_watcher",
    "the umask of a socket is decimal": CIRCUS + "test_config_build.py::test_fault_6_the_umask_of_a_socket_is_octal",
    "of a key that is given twice the first counts, in silence":
        LOAD + "::test_fault_7_of_a_key_that_is_given_twice_the_first_counts_and_the_other_is_told_of",
    "fractions of seconds are refused": CIRCUS + "test_config_values.py::test_what_is_accepted",
    "variables in [env:...] arrive as they stand":
        CIRCUS + "test_config_build.py::test_fault_9_variables_are_replaced_in_sections_for_patterns_too",
    "what was changed while circusd was away is not applied":
        CIRCUS + "test_engine.py::test_what_was_changed_in_the_file_meanwhile_is_applied",
    "copy_env and virtualenv do not work together":
        JOURNEYS + "test_page.py::test_copy_env_and_virtualenv_work_together_and_apart",
    "__name__ is in the environment of processes":
        CIRCUS + "test_config_build.py::test_the_name_of_its_section_is_no_option_and_no_variable",
    "another shell's environment is a change":
        CIRCUS + "test_config_diff.py::test_a_start_in_another_shell_is_no_change",
    "a change in [circus] makes all others ignored":
        CIRCUS + "test_engine.py::test_reloadconfig_touches_only_what_changed",
    # With papa
    "quit hangs while a process with a stream is quiet":
        JOURNEYS + "test_page.py::test_quit_leaves_the_papa_processes_running_and_ends_the_others",
    "a line on a stream that nobody configured ends all output":
        CIRCUS + "test_streams_pump.py::test_streams_without_a_section_go_to_standard_output_in_whole_lines",
    "a process in papa that dies is no event, and has no exit code":
        CIRCUS + "test_engine.py::test_one_that_ended_while_nobody_was_there_is_settled_and_followed",
    "processes have the umask of the daemon":
        "tests/inventory/test_processes.py::test_a_process_is_as_its_options_say",
    "a dead process is taken for a living one":
        CIRCUS + "test_engine.py::test_one_that_ended_does_not_hide_its_successor",
    "a stranger with a pid of ours is signalled": CIRCUS + "test_engine_hosted.py::test_a_reused_pid_is_not_hit",
    "when papa dies its processes die, and circusd spins":
        JOURNEYS + "test_main_job.py::test_a_killed_kernel_is_not_noticed",
    "papa takes over a port of circusd that has left": JOURNEYS + "test_main_job.py::test_shutdown_leaves_nothing",
    "the lines of a killed circusd come twice":
        JOURNEYS + "test_main_job.py::test_a_killed_circusd_is_followed_by_one_that_takes_over_both_kinds",
    "what was dropped is not said":
        LOGGING
        + "::test_of_more_than_that_the_oldest_is_dropped_and_said_in_the_log_in_circusds_log_and_in_the_status",
    "too many survivors: the oldest are ended first":
        CIRCUS + "test_adopt.py::test_the_newest_stay_when_there_are_too_many_whatever_their_wid",
    "watchers web and web.1 are mixed up": CIRCUS + "test_adopt.py::test_names_with_dots_are_told_apart",
    "counts by hand are forgotten":
        JOURNEYS + "test_page.py::test_counts_and_stops_by_hand_are_not_reset_when_circusd_is_restarted",
}  # fmt: skip
