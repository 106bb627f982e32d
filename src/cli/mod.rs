//! The command line as people type it.
//!
//! Owns the clap types, one file per command, and turns each `XArgs` (as typed) into an `XRequest` (valid). The turn
//! destructures exhaustively, so that a flag that nothing reads does not compile. Calls `names`; does nothing else.

mod add_project;
mod add_user;
mod auth_keys;
mod broker;
mod cleanup;
mod create;
mod dev;
mod doctor;
mod down;
mod exec;
mod fetch_project;
mod init;
mod list;
mod list_users;
mod logs;
mod output;
mod podfile;
mod prebuild;
mod project;
mod remove_project;
mod remove_user;
mod rm;
mod run;
mod schema;
mod server_setup;
mod shell;
mod spec;
mod status;
mod stop;
mod switch_branch;
mod target;
mod update_project;
mod usage;
mod verify_image;
mod version;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use podspawn_runtimes::EngineKind;

pub use add_project::*;
pub use add_user::*;
pub use auth_keys::*;
pub use broker::*;
pub use cleanup::*;
pub use create::*;
pub use dev::*;
pub use doctor::*;
pub use down::*;
pub use exec::*;
pub use fetch_project::*;
pub use init::*;
pub use list::*;
pub use list_users::*;
pub use logs::*;
pub use output::*;
pub use podfile::*;
pub use prebuild::*;
pub use project::*;
pub use remove_project::*;
pub use remove_user::*;
pub use rm::*;
pub use run::*;
pub use schema::*;
pub use server_setup::*;
pub use shell::*;
pub use spec::*;
pub use status::*;
pub use stop::*;
pub use switch_branch::*;
pub use target::*;
pub use update_project::*;
pub use usage::*;
pub use verify_image::*;
pub use version::*;

/// Configuration file of a server; where it exists, this host is one.
pub const SERVER_CONFIG: &str = "/etc/podspawn/config.yaml";

/// Private containers over plain SSH, and throwaway machines locally.
#[derive(Debug, Parser)]
#[command(name = "podspawn", version = VERSION, after_help = "Example:\n  podspawn version")]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command, as typed.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Configuration file [default: ~/.podspawn/config.yaml; /etc/podspawn/config.yaml on a server].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Append the log to this file [default: standard error].
    #[arg(long, global = true, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Container engine to use [default: the first that answers].
    #[arg(long, global = true, value_name = "ENGINE")]
    pub runtime: Option<RuntimeArg>,
}

/// Engines by the words people type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RuntimeArg {
    /// Docker with its default runtime.
    Docker,
    /// Podman, rootless or not.
    Podman,
    /// Docker with gVisor's `runsc`.
    Gvisor,
}

/// Flags of every command, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalRequest {
    /// Configuration file, if one was named.
    pub config: Option<PathBuf>,
    /// Log file, if one was named.
    pub log_file: Option<PathBuf>,
    /// Engine, if one was named.
    pub runtime: Option<EngineKind>,
}

impl From<GlobalArgs> for GlobalRequest {
    fn from(args: GlobalArgs) -> Self {
        let GlobalArgs { config, log_file, runtime } = args;
        let runtime = runtime.map(|runtime| match runtime {
            RuntimeArg::Docker => EngineKind::Docker,
            RuntimeArg::Podman => EngineKind::Podman,
            RuntimeArg::Gvisor => EngineKind::Gvisor,
        });
        Self { config, log_file, runtime }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add keys for a container user, and make the account if there is none.
    AddUser(AddUserArgs),
    /// Print the key lines of a container user; sshd calls this.
    AuthKeys(AuthKeysArgs),
    /// Open a shell in a throwaway machine that goes when the shell ends.
    Run(RunArgs),
    /// Create a machine and keep it running.
    Create(CreateArgs),
    /// Open a shell in a machine.
    Shell(ShellArgs),
    /// Run one command in a machine and pass on its exit status.
    Exec(ExecArgs),
    /// Write a podfile.yaml for the project in this directory.
    Init(InitArgs),
    /// Join or make the environment of this directory's Podfile and open a shell in it.
    Dev(DevArgs),
    /// Remove the environment of this directory.
    Down(DownArgs),
    /// Build the image of this directory's Podfile.
    Prebuild(PrebuildArgs),
    /// List machines.
    List(ListArgs),
    /// Show what a machine or one of its services has written.
    Logs(LogsArgs),
    /// List container users and how many keys each has.
    ListUsers(ListUsersArgs),
    /// Remove a container user: keys, account, and with `--force` the sessions.
    RemoveUser(RemoveUserArgs),
    /// Stop a machine; what is inside it is gone.
    Stop(StopArgs),
    /// Remove a machine, and its checkout if it was made of a project.
    Rm(RmArgs),
    /// Check out another branch in a machine that was made of a project.
    SwitchBranch(SwitchBranchArgs),
    /// Register a repository whose Podfile describes machines.
    AddProject(AddProjectArgs),
    /// Bring a project to what its repository has now.
    UpdateProject(UpdateProjectArgs),
    /// Fetch the repository of a server's project that nobody has fetched yet; the broker calls this.
    #[command(hide = true)]
    FetchProject(FetchProjectArgs),
    /// Forget a project; its machines stay.
    RemoveProject(RemoveProjectArgs),
    /// Count sessions, connections and containers.
    Status(StatusArgs),
    /// Remove what has expired or was left behind.
    Cleanup(CleanupArgs),
    /// Check that this host can run machines.
    Doctor(DoctorArgs),
    /// Check what an image offers.
    VerifyImage(VerifyImageArgs),
    /// Show the settings that a machine would get, and where each comes from.
    Spec(SpecArgs),
    /// Check a project's Podfile.
    Podfile(PodfileArgs),
    /// Print the JSON Schema of a file, for editors.
    Schema(SchemaArgs),
    /// Make this host's sshd lead container users into their containers.
    ServerSetup(ServerSetupArgs),
    /// Show podspawn's version.
    Version(VersionArgs),
    /// Serve the container users of this host (started by the init system or at a login).
    Broker(BrokerArgs),
}
