//! What "supported" means: one list of cases, run against every engine. Effects are looked at from inside a container,
//! not only in what the engine says of itself. What an engine declares it cannot do is asserted as the declared error.

mod build;
mod create;
mod exec;
mod files;
mod images;
mod lab;
mod lifecycle;
mod listing;
mod networks;
mod security;
mod volumes;

use lab::{Which, run};

macro_rules! conformance {
    ($($module:ident :: { $($case:ident),* $(,)? })*) => {
        conformance!(@engine docker, Which::Docker, $($module::{ $($case),* })*);
        conformance!(@engine docker26, Which::Docker26, $($module::{ $($case),* })*);
        conformance!(@engine podman, Which::Podman, $($module::{ $($case),* })*);
        conformance!(@engine gvisor, Which::Gvisor, $($module::{ $($case),* })*);
    };
    (@engine $engine:ident, $which:expr, $($module:ident :: { $($case:ident),* })*) => {
        mod $engine {
            $($(
                #[test]
                fn $case() {
                    super::run($which, |lab| Box::pin(super::$module::$case(lab)));
                }
            )*)*
            use super::Which;
        }
    };
}

conformance! {
    images::{
        an_image_is_present_or_not,
        a_pull_reports_progress_and_ends_with_the_image,
        a_failed_pull_gives_the_answer_of_the_registry,
        an_image_gets_further_names_and_loses_them,
    }
    build::{
        a_build_takes_its_context_arguments_stage_and_labels,
        a_failed_build_shows_what_failed,
        what_an_image_brings_along_for_builds_is_told,
    }
    create::{
        user_directory_environment_and_host_name_arrive,
        entrypoint_and_command_replace_those_of_the_image,
        binds_and_their_read_only_form_hold_inside,
        published_ports_reach_the_container,
        what_is_missing_or_taken_is_named,
    }
    security::{
        capabilities_are_dropped_and_given_back,
        no_new_privileges_holds,
        the_root_file_system_is_read_only_and_tmpfs_is_not,
        tmpfs_keeps_size_mode_and_execution,
        a_seccomp_profile_is_in_force,
        the_number_of_processes_is_limited,
        memory_is_limited,
        cpu_time_is_limited,
        the_runtime_is_the_one_that_was_asked_for,
        ids_are_shifted_where_the_engine_can_and_refused_elsewhere,
        names_are_given_an_address,
    }
    lifecycle::{
        a_wait_gives_the_exit_status,
        starting_twice_and_stopping_twice_are_no_errors,
        a_stop_asks_first_and_kills_after_its_grace,
        signals_reach_the_first_process,
        a_removal_ends_a_stubborn_container_at_once,
        a_removal_of_what_is_gone_is_no_error,
        two_removals_at_once_both_succeed,
        output_of_the_first_process_is_kept_apart_and_followed,
    }
    networks::{
        names_resolve_on_a_network_and_not_from_outside,
        an_address_is_kept_where_the_engine_takes_one,
        an_internal_network_has_no_way_out,
        networks_are_listed_by_label_and_removed,
    }
    volumes::{
        a_volume_outlives_its_containers,
        volumes_are_listed_by_label_and_removed,
    }
    files::{
        files_go_in_with_owners_and_modes,
        files_come_out_as_they_are,
        a_missing_path_is_named,
    }
    exec::{
        output_and_errors_are_kept_apart,
        exit_statuses_arrive,
        a_missing_command_is_a_status,
        user_directory_and_environment_of_a_command,
        much_input_arrives_whole_and_ends,
        much_output_arrives_whole,
        a_terminal_has_its_size_and_passes_every_byte,
        a_bare_connection_carries_a_command_whole,
        a_bare_connection_that_cannot_be_had_is_an_error,
        many_commands_run_at_once,
        a_command_needs_a_running_container,
        an_end_of_the_container_ends_its_commands,
    }
    listing::{
        containers_are_listed_by_label,
        what_a_container_writes_is_counted_as_its_own,
        events_tell_what_happens_to_labelled_containers,
        facts_are_those_of_the_engine,
        a_known_engine_is_connected_without_asking,
    }
}
