"""Every option that does something, and the test that fails when it is ignored: `make inventory` tries each of them.

A row is what `site/ignoring_options.py` ignores, and the test that must fail then. Options that are understood without
effect are in ``NOT_THERE_YET``, each with a value of which circusd warns when it starts.
"""

from __future__ import annotations

PROCESS = "tests/inventory/test_processes.py::test_a_process_is_as_its_options_say"
STREAM = "tests/inventory/test_streams.py::test_a_stream_is_written_as_its_options_say"
CLASS = "tests/inventory/test_streams.py::test_a_class_is_obeyed"
SOCKET = "tests/inventory/test_sockets.py::test_a_socket_is_as_its_options_say"
LIVES = "tests/inventory/test_lives.py::test_starts_and_ends_are_as_their_options_say"
HOOK = "tests/inventory/test_lives.py::test_every_hook_is_called_and_sees_options_of_ones_own"
FLAPPING = "tests/inventory/test_lives.py::test_flapping_is_what_the_watcher_says"
BACKOFF = "tests/journeys/test_backoff.py::test_a_crash_loop_is_paused_and_given_up_as_its_options_say"
JOB = "tests/journeys/test_jobs.py::test_a_job_is_as_its_options_say"
CIRCUSD = "tests/inventory/test_circusd.py::test_a_circusd_is_as_its_section_says"
PAGE = "tests/journeys/test_page_options.py::test_the_options_of_the_page_do_what_they_say"
PLUGIN = (
    "tests/journeys/test_page_options.py::test_a_flapping_watcher_is_stopped_tried_again_and_given_up_also_with_papa"
)
AGE = "tests/journeys/test_max_age.py::test_a_process_is_renewed_by_age"
KEPT = "tests/journeys/test_page.py::test_quit_leaves_the_papa_processes_running_and_ends_the_others"

ACCESS = "tests/journeys/test_access.py::"
AUDIT = "tests/journeys/test_audit.py::test_the_trail_is_where_and_as_large_as_its_options_say"

READY = "tests/journeys/test_ready.py::"
WARDEN = "tests/journeys/test_warden.py::"

ROWS: dict[str, str] = {
    **dict.fromkeys(
        (
            "circus control", "circus papa_endpoint", "circus pidfile", "circus loglevel", "circus logoutput",
            "circus include", "circus include_dir", "circus use_papa",
        ),
        CIRCUSD,
    ),
    **dict.fromkeys(("circus audit.file", "circus audit.max_bytes", "circus audit.backup_count"), AUDIT),
    "circus warden": WARDEN + "test_whoever_wants_no_warden_has_none",
    "circus watchdog": WARDEN + "test_a_stopped_circusd_is_replaced_and_its_stacks_are_in_the_log",
    "circus limits.memory": WARDEN + "test_one_that_uses_too_much_memory_begins_anew_in_place",
    "circus limits.cpu": WARDEN + "test_one_that_uses_too_much_time_of_processors_begins_anew_in_place",
    "circus limits.grace": "packages/circus/tests/test_daemon_beats.py::test_the_grace_says_how_long_and_how_often",
    "circus umask": PROCESS,
    "circus env_file": PROCESS,
    "circus store_size": "tests/inventory/test_circusd.py::test_what_goes_into_no_file_is_kept_as_long_as_is_said",
    "circus store_age": "tests/inventory/test_circusd.py::test_what_goes_into_no_file_is_kept_as_long_as_is_said",
    "circus stats_interval": "packages/circus/tests/test_engine_figures.py::test_an_interval_looks_by_itself",
    "circus warmup_delay": "tests/inventory/test_circusd.py::test_the_starts_of_watchers_are_apart",
    "circus name": "tests/inventory/test_circusd.py::test_a_name_is_found_by_it",
    **dict.fromkeys(
        (f"circus {key}" for key in ("endpoint", "pubsub_endpoint", "stats_endpoint", "endpoint_owner")),
        "tests/journeys/test_old_door.py::test_what_is_named_is_open_and_nothing_else",
    ),
    "circus zmq.open_to_network": "tests/journeys/test_old_door.py::test_the_network_gets_in_only_where_that_is_meant",
    "circus loggerconfig": "tests/inventory/test_circusd.py::test_a_logging_configuration_is_obeyed",
    **dict.fromkeys(
        ("circus api.viewers", "circus api.operators", "circus api.admins"),
        ACCESS + "test_members_of_groups_may_what_their_role_may_and_others_are_refused",
    ),
    **dict.fromkeys(
        ("circus api.listen", "circus api.tls"), ACCESS + "test_plain_http_and_a_port_that_is_taken"
    ),
    **dict.fromkeys(
        ("circus api.certificate", "circus api.key", "circus api.rate"),
        ACCESS + "test_certificates_of_ones_own_are_shown_and_a_token_may_be_slowed_down",
    ),
    "circus api.hosts": ACCESS + "test_pages_of_the_web_are_refused_also_behind_a_proxy",
    "circus check_delay": "packages/circus/tests/test_config_plugins.py::test_the_plugin_is_told_which_circusd_is_its",
    **dict.fromkeys(
        (
            "watcher cmd", "watcher args", "watcher executable", "watcher working_dir", "watcher copy_env",
            "watcher copy_path", "watcher env_file", "watcher env.*", "watcher rlimit_*", "watcher stdin_socket",
            "watcher virtualenv", "watcher close_child_stdout", "watcher close_child_stderr", "watcher shell",
            "watcher shell_args", "watcher uid", "watcher gid", "env *", "env: *", "DEFAULT *", "variable wid",
            "variable env.*", "variable sockets.*", "variable priority", "variable shell",
        ),
        PROCESS,
    ),
    **dict.fromkeys(
        (
            "watcher numprocesses", "watcher warmup_delay", "watcher singleton", "watcher send_hup",
            "watcher stop_signal", "watcher priority",
        ),
        PAGE,
    ),
    **dict.fromkeys(
        (
            "watcher autostart", "watcher respawn", "watcher max_retry", "watcher stop_children",
            "watcher graceful_timeout",
        ),
        LIVES,
    ),
    "watcher use_papa": KEPT,
    "watcher use_sockets": "tests/inventory/test_processes.py::"
    "test_use_sockets_gives_all_to_a_process_that_names_none",
    "watcher listen_fds": "tests/inventory/test_processes.py::"
    "test_listen_fds_gives_them_as_services_of_systemd_find_them",
    **dict.fromkeys(
        ("watcher max_surge", "watcher max_unavailable", "watcher soak", "watcher update"),
        "tests/journeys/test_roll.py::test_reloads_keep_their_bounds_and_what_does_not_work_is_taken_back",
    ),
    "watcher kill_mode": "tests/journeys/test_stop.py::test_a_stop_of_a_tree_is_done_when_nobody_is_left",
    "watcher cgroup": "tests/journeys/test_stop.py::test_in_a_control_group_nobody_can_hide",
    "watcher max_age": AGE,
    "watcher max_age_variance": AGE,
    **dict.fromkeys(
        ("watcher after", "watcher requires", "watcher wants"),
        "tests/journeys/test_dependencies.py::test_starts_go_along_the_dependencies_and_ends_against_them",
    ),
    "watcher on_demand": "tests/journeys/test_on_demand.py::test_each_connection_starts_it_anew",
    "watcher essential": "tests/service/test_container.py::"
    "test_a_container_ends_with_what_is_essential_and_with_its_status",
    "watcher own": HOOK,
    **dict.fromkeys(
        (
            "watcher hooks.before_start", "watcher hooks.after_start", "watcher hooks.before_spawn",
            "watcher hooks.after_spawn", "watcher hooks.before_stop", "watcher hooks.after_stop",
            "watcher hooks.before_signal", "watcher hooks.after_signal", "watcher hooks.before_reap",
            "watcher hooks.after_reap", "watcher hooks.extended_stats",
        ),
        HOOK,
    ),
    **{
        f"watcher {stream}.{key}": CLASS if key == "class" else STREAM
        for stream in ("stdout_stream", "stderr_stream")
        for key in ("class", "filename", "max_bytes", "backup_count", "time_format")
    },
    **{
        f"watcher {stream}.{key}": "tests/inventory/test_streams.py::test_a_file_is_rotated_by_time"
        for stream in ("stdout_stream", "stderr_stream")
        for key in ("rotate_when", "rotate_interval", "utc")
    },
    **{
        f"watcher {stream}.format": "tests/inventory/test_streams.py::test_lines_are_objects"
        for stream in ("stdout_stream", "stderr_stream")
    },
    **{
        f"watcher {stream}.compress": "tests/inventory/test_streams.py::test_rotated_files_are_compressed"
        for stream in ("stdout_stream", "stderr_stream")
    },
    **{
        f"watcher {stream}.{key}": "tests/inventory/test_streams.py::test_papa_keeps_as_much_of_a_stream_as_it_says"
        for stream in ("stdout_stream", "stderr_stream")
        for key in ("buffer", "overflow", "stall")
    },
    **{
        f"watcher {stream}.{key}": "tests/inventory/test_streams.py::test_lines_are_sent_as_the_options_say"
        for stream in ("stdout_stream", "stderr_stream")
        for key in ("address", "facility", "level", "tag")
    },
    "watcher stdout_stream.color": "tests/inventory/test_streams.py::test_fancy_lines_have_their_colour",
    "watcher stderr_stream.color": "tests/inventory/test_streams.py::test_fancy_lines_have_their_colour",
    **{f"watcher flapping.{key}": FLAPPING for key in ("active", "attempts", "window", "retry_in", "max_retry")},
    "watcher ready": READY + "test_a_service_that_speaks_is_ready_when_it_says_so_also_over_crashes_of_circusd",
    "watcher ready_interval": READY + "test_the_times_of_ready_are_obeyed",
    "watcher start_timeout": READY + "test_a_process_that_does_not_become_ready_is_ended_and_tried_again_with_a_pause",
    **dict.fromkeys(
        ("watcher health.check", "watcher health.action"), READY + "test_an_illness_may_be_only_told"
    ),
    **dict.fromkeys(
        (f"watcher health.{key}" for key in ("interval", "timeout", "threshold", "start_period")),
        READY + "test_the_times_of_health_are_obeyed",
    ),
    **{f"watcher backoff.{key}": BACKOFF for key in ("first", "factor", "max", "jitter", "stable", "attempts")},
    **{
        f"watcher limits.cgroup_{key}": "packages/circus/tests/test_engine_ceilings.py::"
        "test_bounds_are_written_when_a_process_is_in_its_group_and_when_the_options_change"
        for key in ("memory_max", "memory_high", "cpu_max", "pids_max")
    },
    **{
        f"watcher limits.{key}": "tests/journeys/test_limits.py::test_what_uses_too_much_has_what_its_options_say"
        for key in ("memory", "cpu", "interval", "grace", "clear", "start_period", "action")
    },
    "watcher type": "tests/journeys/test_jobs.py::"
    "test_a_oneshot_runs_once_until_its_options_change_or_somebody_starts_it",
    "watcher schedule": JOB,
    **{f"watcher job.{key}": JOB for key in ("timezone", "overlap", "missed", "time_limit", "history")},
    "plugin use": "packages/circus/tests/test_config_plugins.py::test_a_plugin_is_a_watcher_that_leaves_with_circusd",
    "plugin priority": "packages/circus/tests/test_config_plugins.py::"
    "test_the_watcher_takes_its_options_converted_and_the_plugin_takes_all_as_text",
    **{f"plugin {key}": FLAPPING for key in ("attempts", "window", "retry_in")},
    "plugin max_retry": PLUGIN,
    **{
        f"socket {key}": SOCKET
        for key in ("host", "port", "family", "type", "backlog", "path", "umask", "replace", "interface", "blocking")
    },
    **{
        f"notifier {key}": "tests/journeys/test_notify.py::test_a_notifier_is_as_its_options_say"
        for key in ("url", "cmd", "header.*", "events", "watchers", "timeout", "retries", "backoff", "queue", "every")
    },
    "socket so_reuseport": "tests/journeys/test_so_reuseport.py::"
    "test_each_process_has_its_own_listener_and_the_port_stays",
    "socket use_papa": "tests/journeys/test_page.py::test_sockets_are_served_while_circusd_is_away_whoever_uses_papa",
}  # fmt: skip

#: Section -> option -> a value of which a start warns.
NOT_THERE_YET: dict[str, dict[str, str]] = {
    "circus": {
        "multicast_endpoint": "udp://237.219.251.97:12027",
        "statsd": "true",
        "statsd_close_outputs": "true",
        "httpd": "true",
        "httpd_host": "127.0.0.1",
        "httpd_port": "8081",
        "httpd_close_outputs": "true",
        "debug": "true",
        "debug_gc": "true",
        "fqdn_prefix": "x",
        "stream_backend": "thread",
        "ssh_server": "x",
        "proc_name": "x",
        "prereload_fn": "x",
    },
    "watcher": {
        "virtualenv_py_ver": "3.9",
        "check_flapping": "false",
        "close_child_stdin": "false",
        "stdout_stream.refresh_time": "0.3",
    },
    "socket": {"proto": "tcp"},
}
