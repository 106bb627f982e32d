//! `broker`

use clap::Args;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn broker --detach")]
pub struct BrokerArgs {
    /// Go on in the background, and end when nothing is left to do [default: off].
    #[arg(long)]
    pub detach: bool,
    /// End when nothing is left to do [default: on if the init system holds the socket, else off].
    #[arg(long)]
    pub exit_when_idle: bool,
    /// Socket and lock were handed over.
    #[arg(long, hide = true)]
    pub inherited: bool,
}

/// Valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerRequest {
    /// Go on in the background.
    pub detach: bool,
    /// End when nothing is left to do.
    pub exit_when_idle: bool,
    /// Socket and lock were handed over.
    pub inherited: bool,
}

impl From<BrokerArgs> for BrokerRequest {
    fn from(args: BrokerArgs) -> Self {
        let BrokerArgs { detach, exit_when_idle, inherited } = args;
        Self { detach, exit_when_idle, inherited }
    }
}
