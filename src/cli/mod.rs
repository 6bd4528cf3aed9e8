//! The command line: one file per command family. Only `main` turns a result into an exit code.

mod apply;
mod beside;
mod certs;
mod check;
mod context;
mod demo;
mod event;
mod kubeadm;
mod kubeconfig;
mod output;
mod peers;
mod routes;
mod run;
mod show;
mod status;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

pub use beside::Certificates;
use context::{Context, Failure};
use ipnet::IpNet;
use output::Output;

use crate::name::Name;

/// Exit codes, after sysexits.h where it has one.
pub mod exit {
    /// All is well.
    pub const OK: u8 = 0;
    /// Something disagrees, needs attention or was refused, or a surface could not follow.
    pub const DISAGREES: u8 = 1;
    /// Bad usage, as clap tells it.
    pub const USAGE: u8 = 2;
    /// Bad input: unknown name, bad address, another domain. Nothing has changed.
    pub const BAD_DATA: u8 = 65;
    /// Something that is needed is not there or does not answer.
    pub const UNAVAILABLE: u8 = 69;
    /// The agent does not understand this program.
    pub const SOFTWARE: u8 = 70;
    /// The operating system refused, or the saved book cannot be read.
    pub const OS_ERROR: u8 = 71;
    /// Another stayput is at work; try again.
    pub const TEMPORARY: u8 = 75;
    /// A bad cluster file or node file.
    pub const CONFIG: u8 = 78;
}

/// Keeps a kubeadm cluster working while its machines' IP addresses change.
///
/// Certificates are issued on stable names; stayput keeps the map from those names to the masters'
/// current addresses true on this node: in the hosts file, in a DNS responder, and in a local HAProxy.
#[derive(Debug, Parser)]
#[command(name = "stayput", version, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 all is well; 1 something disagrees, needs attention or was
refused, or a surface could not follow; 2 bad usage; 65 bad input (nothing has
changed); 69 what is needed is not there, does not answer or failed; 70 the
agent does not understand this program (another version?); 71 the operating
system refused, or the saved book cannot be read; 75 another stayput is at
work, try again; 78 a bad cluster or node file.";

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The cluster file, the same on every node
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/stayput/cluster.yaml"
    )]
    config: PathBuf,
    /// The node file, what belongs to this node (optional)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/stayput/node.yaml"
    )]
    node_config: PathBuf,
    /// Look up every path below DIR, also through symlinks; a sandbox needs no root
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/",
        env = "STAYPUT_ROOT"
    )]
    root: PathBuf,
    /// This node's name in the cluster [default: from the node file, else the host name]
    #[arg(long, global = true, value_name = "NAME")]
    node: Option<Name>,
    /// The name of this node's Node object, if it differs
    #[arg(long, global = true, value_name = "NAME")]
    kubernetes_name: Option<Name>,
    /// Announce the addresses of this interface [default: the default route's]
    #[arg(long, global = true, value_name = "IF", conflicts_with = "own_cidr")]
    own_interface: Option<String>,
    /// Announce the addresses within this range
    #[arg(long, global = true, value_name = "CIDR")]
    own_cidr: Option<IpNet>,
    /// Tables for people or JSON for machines
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Say more (-v: debug, -vv: trace, and what libraries say)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    color: Color,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent in the foreground
    ///
    /// Keeps hosts file, DNS responder and HAProxy true to the masters' addresses until SIGTERM.
    /// SIGHUP reads the cluster file again. Tells systemd when it is ready and feeds its watchdog.
    Run(run::RunArgs),
    /// Tell that a master has moved, or look at this node's own address
    ///
    /// Returns when every surface has the change, and prints what each did and how long it took.
    /// Asks the running agent; without one it does the work itself and says so.
    Event(event::EventArgs),
    /// Do the agent's work once, without an agent (early boot, images)
    Apply,
    /// Show the book with origin and age, every surface's state and last error, and conflicts
    Status(status::StatusArgs),
    /// Ask the responder, the hosts file, HAProxy and the system, and show where they disagree
    Check,
    /// Show what each surface says for a name
    Resolve(check::ResolveArgs),
    /// The hosts file
    #[command(subcommand)]
    Hosts(show::HostsCommand),
    /// The local HAProxy
    #[command(subcommand)]
    Haproxy(show::HaproxyCommand),
    /// Stable addresses of the masters, and the routes to them
    #[command(subcommand)]
    Routes(routes::RoutesCommand),
    /// Tell that this master is complete: its HAProxy points to itself only
    Provisioned(event::ProvisionedArgs),
    /// Certificates on names: issue, renew, look, verify
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// What kubeadm pins to addresses: write a cluster without, find it, mend it
    #[command(subcommand)]
    Kubeadm(kubeadm::KubeadmCommand),
    #[command(flatten)]
    Records(peers::RecordsCommand),
    /// Make a kubeconfig for a machine outside of the cluster, from admin.conf
    Kubeconfig(kubeconfig::KubeconfigArgs),
    /// Show all of it in a scratch folder, without root
    Demo(demo::DemoArgs),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Whether machines read what is printed.
    fn wants_json(&self) -> bool {
        self.global.output == Output::Json
    }

    /// Whether a process was asked for that runs for ever, and logs more by itself.
    fn is_agent(&self) -> bool {
        match &self.command {
            Command::Run(_) => true,
            Command::Records(command) => command.is_process(),
            _ => false,
        }
    }
}

/// A whole process: arguments in, exit code out.
pub fn main(certificates: &Certificates) -> ExitCode {
    let cli = Cli::parse();
    let json = cli.wants_json();
    match run(cli, certificates) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprint!("{}", failure.text(json));
            ExitCode::from(failure.code)
        }
    }
}

/// Runs a command; the number is the process's exit code.
fn run(cli: Cli, certificates: &Certificates) -> Result<u8, Failure> {
    output::start_log(cli.global.verbose, cli.global.color, cli.is_agent());
    let context = Context::new(cli.global);
    match cli.command {
        Command::Run(args) => run::run(&context, &args),
        Command::Event(args) => event::event(&context, args),
        Command::Apply => apply::apply(&context),
        Command::Status(args) => status::status(&context, args),
        Command::Check => check::check(&context),
        Command::Resolve(args) => check::resolve(&context, args),
        Command::Hosts(command) => show::hosts(&context, command),
        Command::Haproxy(command) => show::haproxy(&context, command),
        Command::Routes(command) => routes::routes(&context, command),
        Command::Provisioned(args) => event::provisioned(&context, args),
        Command::Certs(command) => (certificates.certs)(&context, command),
        Command::Kubeadm(command) => (certificates.kubeadm)(&context, command),
        Command::Records(command) => (certificates.records)(&context, command),
        Command::Kubeconfig(args) => (certificates.kubeconfig)(&context, args),
        Command::Demo(args) => demo::demo(&context, args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "stayput", &mut script);
            std::io::stdout()
                .write_all(&script)
                .map_err(Failure::output)?;
            Ok(exit::OK)
        }
    }
}
