//! `init`

use clap::Args;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn init --yes --template go")]
pub struct InitArgs {
    /// Template to begin with: go, node, python, rust, fullstack, minimal [default: by the files that are here].
    #[arg(short, long, value_name = "TEMPLATE")]
    pub template: Option<String>,
    /// Ask nothing: take the template as it is, and overwrite a podfile.yaml [default: ask].
    #[arg(short, long)]
    pub yes: bool,
    /// Fetch the newest bases and templates first [default: use those that are here].
    #[arg(long)]
    pub update: bool,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitRequest {
    /// Name of a template; whether there is one, the registry knows.
    pub template: Option<String>,
    /// Ask nothing.
    pub yes: bool,
    /// Fetch first.
    pub update: bool,
}

impl From<InitArgs> for InitRequest {
    fn from(args: InitArgs) -> Self {
        let InitArgs { template, yes, update } = args;
        Self { template, yes, update }
    }
}
