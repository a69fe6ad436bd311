//! The command line: what was typed becomes a request, the request is carried out, and the answer is printed.
//!
//! Each subcommand has a file of its own, with its arguments and its documentation. This file knows what they share: the
//! global options, the configuration, the store, and how errors and exit codes look.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Config;
use crate::error::{Context, Error, Result};
use crate::stage0::fetch::{Settings, Web};
use crate::stage0::keystore::{Keys, Keystore, Policy};
use crate::stage0::store::Store;
use crate::stage1;
use crate::stage1::lifecycle::{RunOptions, is_root};

mod age;
mod apps;
mod build;
mod completions;
mod config;
mod console;
mod cp;
mod destroy;
mod destroy_image;
mod exec;
mod export;
mod fetch;
mod gc;
mod image_manifest;
mod images;
mod import;
mod info;
mod init;
mod kill;
mod killall;
mod list;
mod manifest;
mod output;
mod overrides;
mod prepare;
mod progress;
mod ps;
mod question;
mod run;
mod saveid;
mod show_image;
mod tag;
mod target;
mod top;
mod trust;
mod untag;
mod untrust;
mod verify_image;
mod version;

/// Exit code of Jetpack's own failures, wrong usage included: a program's exit codes are its own.
const FAILED: u8 = 125;

/// Run signed, layered application images as isolated pods.
#[derive(Debug, Parser)]
#[command(
    name = "jetpack",
    version,
    about,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  jetpack init                                             make the store
  jetpack trust --prefix example.com/app key.asc           trust a key for images of these names
  jetpack import app.aci                                   bring an image in, signed by app.aci.asc
  jetpack --insecure-options image import app.aci          bring an unsigned image in
  jetpack run -t app                                       make a pod of it and run it on this terminal
  jetpack run --destroy app --user nobody -- --version     the same once, as another user, with an argument
  jetpack exec POD ps                                      a command in a pod, beside its app
  jetpack list                                             the pods that are here

Exit codes: the app's own; 128+N if signal N killed it; 125 Jetpack failed; 126 the app's program cannot be
executed; 127 it is not there.";

/// Options that every command takes.
#[derive(Debug, Args)]
struct Global {
    /// Read this configuration file (default: $JETPACK_CONF, else jetpack.conf(5))
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override a configuration value; without a value, `on`
    #[arg(short = 'o', global = true, value_name = "KEY[=VALUE]", value_parser = overrides::remember)]
    option: Vec<String>,
    /// Allow what is refused for safety: image (no signature needed, and a bad one ignored), http (no TLS needed), tls (any certificate does)
    #[arg(long, global = true, value_name = "WHAT", value_delimiter = ',')]
    insecure_options: Vec<Insecure>,
    /// How to show results
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print nothing but results and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say on standard error what is being done, as `debug = on` does; --quiet goes over it
    #[arg(short, long, global = true)]
    verbose: bool,
}

/// What a person can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Insecure {
    /// Images without a good signature.
    Image,
    /// Plain HTTP.
    Http,
    /// Servers with any certificate.
    Tls,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Config(config::ShowConfig),
    Info(info::Info),
    Version(version::Version),
    Completions(completions::Completions),
    Fetch(fetch::Fetch),
    Import(import::Import),
    Trust(trust::Trust),
    Untrust(untrust::Untrust),
    Build(build::Build),
    Images(images::Images),
    ShowImage(show_image::ShowImage),
    ImageManifest(image_manifest::ShowImageManifest),
    DestroyImage(destroy_image::DestroyImage),
    VerifyImage(verify_image::VerifyImage),
    Tag(tag::Tag),
    Untag(untag::Untag),
    Export(export::Export),
    Prepare(prepare::Prepare),
    Run(run::Run),
    Exec(exec::Exec),
    Console(console::Console),
    Cp(cp::Cp),
    Kill(kill::Kill),
    Ps(ps::Ps),
    Top(top::Top),
    Killall(killall::Killall),
    List(list::List),
    Manifest(manifest::ShowManifest),
    Destroy(destroy::Destroy),
    Gc(gc::Gc),
}

/// Runs the command line `arguments` (the program's name first) and returns the exit code.
pub fn main(arguments: Vec<OsString>) -> u8 {
    let words: Vec<String> = arguments.iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    if words.first().is_some_and(|word| word == stage1::agent::COMMAND) {
        return stage1::agent::main(&words[1..]);
    }
    let mut cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => return output::usage(&usage),
    };
    cli.global.option = overrides::all();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            error.exit_code()
        }
    }
}

/// What a command has to work with.
struct Host {
    config: Config,
    global: Global,
    verbose: bool,
}

impl Host {
    fn load(global: Global) -> Result<Host> {
        let named = global.config.clone().or_else(|| std::env::var_os("JETPACK_CONF").map(PathBuf::from));
        let config = Config::load(named.as_deref(), &global.option).context(|| "cannot read the configuration")?;
        let debug = config.flag("debug").context(|| "cannot read the configuration")?;
        let verbose = (global.verbose || debug) && !global.quiet;
        let host = Host { config, global, verbose };
        host.config.warnings().iter().for_each(|warning| host.warn(warning));
        Ok(host)
    }

    /// Opens the store, which only root can.
    fn store(&self) -> Result<Store> {
        self.need_root()?;
        Ok(Store::open(&self.config)?.with_progress(progress::shown(!self.global.quiet)))
    }

    fn need_root(&self) -> Result<()> {
        if is_root() || self.is_fake() {
            return Ok(());
        }
        Err(Error::new("only root can do this")
            .help("the store belongs to root, and pods need mounts and namespaces or jails: use sudo(8) or doas(1)"))
    }

    #[cfg(feature = "testing")]
    fn is_fake(&self) -> bool {
        self.config.storage() == crate::config::StorageKind::Fake
    }

    #[cfg(not(feature = "testing"))]
    fn is_fake(&self) -> bool {
        false
    }

    fn policy(&self) -> Result<Policy> {
        let allowed = self.config.flag("allow.no-signature").context(|| "cannot read the configuration")?;
        let insecure = self.global.insecure_options.contains(&Insecure::Image);
        Ok(Policy { allow_unsigned: allowed || insecure, allow_bad: insecure })
    }

    fn keystore(&self) -> Keystore {
        Keystore::of(&self.config)
    }

    /// The keys that are trusted. What is no key is told of.
    fn keys(&self) -> Result<Keys> {
        let keys = self.keystore().load().context(|| "cannot read the trusted keys")?;
        for (path, error) in &keys.broken {
            self.warn(&format!("{} is not used: {}", path.display(), error.one_line()));
        }
        Ok(keys)
    }

    /// The web, as far as the person and the configuration let it be used.
    fn web(&self) -> Result<Web> {
        let what = || "cannot read the configuration";
        let insecure = |option| self.global.insecure_options.contains(&option);
        Ok(Web::new(Settings {
            http: insecure(Insecure::Http) || self.config.flag("allow.http").context(what)?,
            any_certificate: insecure(Insecure::Tls),
            timeout: self.config.fetch_timeout(),
            max_size: self.config.fetch_max_size(),
        }))
    }

    fn warn(&self, text: &str) {
        if !self.global.quiet {
            output::warning(text);
        }
    }

    /// Says what is being done, to those who want to know.
    fn note(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            output::note(&text());
        }
    }

    fn json(&self) -> bool {
        self.global.format == Format::Json
    }
}

/// How something runs for the person at this terminal, if it is one; on one of the pod's if `terminal`.
fn options(terminal: bool) -> RunOptions {
    RunOptions {
        terminal,
        on_terminal: std::io::stdin().is_terminal(),
        term: std::env::var("TERM").ok().filter(|term| !term.is_empty()),
    }
}

fn run(cli: Cli) -> Result<u8> {
    let command = match cli.command {
        // Needs no configuration, and so works where that is broken or may not be read.
        Command::Version(command) => return command.run(cli.global.format),
        Command::Completions(command) => return command.run(),
        other => other,
    };
    let host = Host::load(cli.global)?;
    match command {
        Command::Version(command) => command.run(host.global.format),
        Command::Completions(command) => command.run(),
        Command::Info(command) => command.run(&host),
        Command::Init(command) => command.run(&host),
        Command::Config(command) => command.run(&host),
        Command::Fetch(command) => command.run(&host),
        Command::Import(command) => command.run(&host),
        Command::Trust(command) => command.run(&host),
        Command::Untrust(command) => command.run(&host),
        Command::Build(command) => command.run(&host),
        Command::Images(command) => command.run(&host),
        Command::ShowImage(command) => command.run(&host),
        Command::ImageManifest(command) => command.run(&host),
        Command::DestroyImage(command) => command.run(&host),
        Command::VerifyImage(command) => command.run(&host),
        Command::Tag(command) => command.run(&host),
        Command::Untag(command) => command.run(&host),
        Command::Export(command) => command.run(&host),
        Command::Prepare(command) => command.run(&host),
        Command::Run(command) => command.run(&host),
        Command::Exec(command) => command.run(&host),
        Command::Console(command) => command.run(&host),
        Command::Cp(command) => command.run(&host),
        Command::Kill(command) => command.run(&host),
        Command::Ps(command) => command.run(&host),
        Command::Top(command) => command.run(&host),
        Command::Killall(command) => command.run(&host),
        Command::List(command) => command.run(&host),
        Command::Manifest(command) => command.run(&host),
        Command::Destroy(command) => command.run(&host),
        Command::Gc(command) => command.run(&host),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Cli, apps};

    const MANUAL: &str = include_str!("../../conf/man/jetpack.8");

    /// The words after `Fl` in a part of the manual: `q`, `-quiet`; `Hl` counts as `H` and `l`.
    fn flags(text: &str) -> Vec<String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let flags = words.windows(2).filter(|pair| matches!(pair[0], "Fl" | ".Fl")).map(|pair| pair[1]);
        let one = |flag: &str| match flag.strip_prefix('-') {
            Some(_) => vec![flag.to_owned()],
            None => flag.chars().map(String::from).collect(),
        };
        flags.flat_map(one).collect()
    }

    fn expect(text: &str, command: &clap::Command, of_globals: bool) {
        let there = flags(text);
        for argument in command.get_arguments().filter(|a| a.is_global_set() == of_globals) {
            let wanted = argument.get_short().map(String::from);
            for flag in wanted.into_iter().chain(argument.get_long().map(|long| format!("-{long}"))) {
                assert!(there.contains(&flag), "{}: -{flag} is not in the manual", command.get_name());
            }
        }
    }

    #[test]
    fn the_manual_has_every_command_and_every_flag() {
        let mut cli = Cli::command();
        cli.build();
        let general = MANUAL.split("\n.Ss The store\n").next().unwrap_or_default();
        expect(general, &cli, true);
        expect(general, &cli, false);
        expect(MANUAL, &apps::AppArgs::command(), false);
        for command in cli.get_subcommands() {
            let name = command.get_name();
            let starts = |item: &str| item.split_whitespace().next() == Some(name);
            let items: Vec<&str> = MANUAL.split("\n.It Cm ").skip(1).filter(|item| starts(item)).collect();
            assert!(!items.is_empty(), "{name} is not in the manual");
            let text = items.iter().map(|item| item.split("\n.It ").next().unwrap_or_default());
            // What many commands take stands in a list of its own.
            let shared = if matches!(name, "prepare" | "run") { MANUAL } else { "" };
            let everywhere = "Fl h Fl -help";
            let text: String = text.chain([shared, everywhere]).flat_map(|part| [part, "\n"]).collect();
            expect(&text, command, false);
        }
    }
}
