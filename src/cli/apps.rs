//! The apps of a pod on the command line: `IMAGE [FLAGS] [-- ARGUMENTS] [--- IMAGE …]`.
//!
//! A bare word after an app's flags begins the next app; `---` is needed only after `-- ARGUMENTS`.

use clap::{CommandFactory, Parser};

use super::Host;
use super::fetch::{self, Pull};
use crate::appc::AcName;
use crate::error::{Error, Result};
use crate::stage0::plan::AppRequest;
use crate::stage0::store::Store;
use crate::stage0::volumes::MountRequest;

/// An image and the flags that follow it
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "IMAGE", no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
pub(super) struct AppArgs {
    image: String,
    #[arg(long)]
    name: Option<AcName>,
    #[arg(long)]
    exec: Option<String>,
    #[arg(long)]
    user: Option<String>,
    #[arg(long)]
    group: Option<String>,
    #[arg(long, value_parser = variable)]
    env: Vec<(String, String)>,
    #[arg(long)]
    workdir: Option<String>,
    #[arg(long)]
    readonly_rootfs: bool,
    #[arg(long, value_parser = crate::config::size)]
    disk: Option<u64>,
    #[arg(short = 'm', value_parser = mount)]
    mount: Vec<MountRequest>,
    #[arg(skip)]
    arguments: Vec<String>,
}

/// What `--help` says of the words after a pod's flags.
pub(super) const HELP: &str = "\
App flags, after its image:
      --name NAME          the app's name in the pod (default: the last part of the image's name)
      --exec PROGRAM       the program instead of the image's; found in the image's PATH
      --user USER          the user: a name or number of the image, or a path whose owner is meant
      --group GROUP        the group likewise
      --env NAME=VALUE     a variable of the environment
      --workdir DIRECTORY  where the program starts
      --readonly-rootfs    the app may not write to its root filesystem
      --disk SIZE          the most that its root may hold, with all that is the image's (512M, 10G)
  -m VOLUME[:PATH]         mount a volume of -v at PATH; without it, at the mount point of the volume's name
  -- ARGUMENTS             arguments for the program; for an image without one, the command";

pub(super) fn variable(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn mount(text: &str) -> std::result::Result<MountRequest, String> {
    let (volume, place) = match text.split_once(':') {
        Some((_, "")) => return Err("write VOLUME or VOLUME:PATH".to_owned()),
        Some((volume, place)) => (volume, Some(place.to_owned())),
        None => (text, None),
    };
    Ok(MountRequest { volume: volume.parse().map_err(|e: crate::appc::Error| e.to_string())?, place })
}

/// Reads the words after a pod's flags.
///
/// # Errors
/// A flag is unknown, or its value is missing or wrong; the error is clap's own text. Or `--` or `---` has no image beside it.
pub(super) fn parse(words: &[String]) -> Result<Vec<AppArgs>> {
    sections(words)?.into_iter().map(|section| section.parse()).collect()
}

#[derive(Debug, Default)]
struct Section {
    words: Vec<String>,
    arguments: Vec<String>,
}

impl Section {
    fn parse(self) -> Result<AppArgs> {
        let parsed = AppArgs::try_parse_from(&self.words).map_err(|e| {
            let text = e.to_string();
            let first = text.lines().next().unwrap_or("").trim_start_matches("error: ");
            Error::new(format!("cannot read the app {:?}: {first}", self.words.first().map_or("", String::as_str)))
                .help("`jetpack run --help` lists the flags that may follow an image")
        })?;
        Ok(AppArgs { arguments: self.arguments, ..parsed })
    }
}

/// What the next word may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The first image.
    First,
    /// A flag or the arguments of the last image, or another image.
    Any,
    /// An image, since `---` stands before.
    Image,
}

fn sections(words: &[String]) -> Result<Vec<Section>> {
    let command = AppArgs::command();
    let takes_value = |flag: &str| {
        let short = flag.strip_prefix('-').and_then(|rest| rest.parse::<char>().ok());
        let known = command.get_arguments().find(|a| match flag.strip_prefix("--") {
            Some(long) => a.get_long() == Some(long),
            None => short.is_some() && a.get_short() == short,
        });
        known.is_some_and(|a| a.get_action().takes_values())
    };
    let mut sections: Vec<Section> = Vec::new();
    let mut next = Next::First;
    let mut words = words.iter().cloned().peekable();
    while let Some(word) = words.next() {
        match (word.as_str(), next, sections.last_mut()) {
            ("---", Next::Any, _) => next = Next::Image,
            ("---", ..) => return Err(misplaced("no image stands before `---`")),
            ("--", Next::Any, Some(section)) => {
                section.arguments.extend(std::iter::from_fn(|| words.next_if(|word| word != "---")));
            }
            ("--", ..) => return Err(misplaced("no image stands before `--`, so that what follows it is nobody's")),
            (flag, Next::Any, Some(section)) if flag.starts_with('-') => {
                let value = takes_value(flag).then(|| words.next()).flatten();
                section.words.extend(std::iter::once(word).chain(value));
            }
            _ => {
                sections.push(Section { words: vec![word], ..Section::default() });
                next = Next::Any;
            }
        }
    }
    if next == Next::Image { Err(misplaced("no image follows the last `---`")) } else { Ok(sections) }
}

fn misplaced(what: &str) -> Error {
    Error::new(what).help("write IMAGE [APP FLAGS] [-- ARGUMENTS] for an app, and `---` between two of them")
}

impl AppArgs {
    /// The word that names the image, or a pod if it stands alone.
    pub(super) fn image(&self) -> &str {
        &self.image
    }

    /// Whether nothing but an image, or a pod, is named.
    pub(super) fn is_bare(&self) -> bool {
        *self == AppArgs { image: self.image.clone(), ..AppArgs::empty() }
    }

    fn empty() -> AppArgs {
        AppArgs {
            image: String::new(),
            name: None,
            exec: None,
            user: None,
            group: None,
            env: Vec::new(),
            workdir: None,
            readonly_rootfs: false,
            disk: None,
            mount: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Finds the image, or fetches it.
    ///
    /// # Errors
    /// There is none of that name.
    pub(super) fn request(self, host: &Host, store: &Store, pull: Pull) -> Result<AppRequest> {
        let image = fetch::find(host, store, &self.image, pull)?;
        // Another app's image may have to be fetched first.
        store.begin_use(&image)?;
        Ok(AppRequest {
            name: self.name,
            exec: self.exec,
            arguments: self.arguments,
            user: self.user,
            group: self.group,
            environment: self.env,
            working_directory: self.workdir,
            read_only: self.readonly_rootfs,
            disk: self.disk,
            mounts: self.mount,
            ..AppRequest::of(image)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Vec<(String, Vec<String>)> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&words).unwrap().into_iter().map(|a| (a.image, a.arguments)).collect()
    }

    fn app(image: &str, arguments: &[&str]) -> (String, Vec<String>) {
        (image.to_owned(), arguments.iter().map(|a| (*a).to_owned()).collect())
    }

    #[test]
    fn apps_follow_one_another() {
        let table = [
            ("a", vec![app("a", &[])]),
            ("a -- x -y -- z", vec![app("a", &["x", "-y", "--", "z"])]),
            ("a b", vec![app("a", &[]), app("b", &[])]),
            ("a --user u b --exec /bin/x", vec![app("a", &[]), app("b", &[])]),
            ("a --readonly-rootfs b", vec![app("a", &[]), app("b", &[])]),
            ("a -- x --- b -- y", vec![app("a", &["x"]), app("b", &["y"])]),
            ("a --env=A=b --- b", vec![app("a", &[]), app("b", &[])]),
            ("a -m v:/x -mw b", vec![app("a", &[]), app("b", &[])]),
        ];
        for (line, expected) in table {
            assert_eq!(parsed(line), expected, "{line}");
        }
    }

    #[test]
    fn separators_stand_behind_an_image_and_before_the_next() {
        let table = [
            ("a --- -- b", "no image stands before `--`, so that what follows it is nobody's"),
            ("a -- x --- -- b", "no image stands before `--`, so that what follows it is nobody's"),
            ("-- b", "no image stands before `--`, so that what follows it is nobody's"),
            ("--- a", "no image stands before `---`"),
            ("a --- --- b", "no image stands before `---`"),
            ("a ---", "no image follows the last `---`"),
            ("a -- x ---", "no image follows the last `---`"),
        ];
        for (line, expected) in table {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(parse(&words).unwrap_err().to_string(), expected, "{line}");
        }
    }

    #[test]
    fn wrong_flags_are_named() {
        for (line, part) in [
            ("a -m v:", "VOLUME:PATH"),
            ("a -m V:/x", "not an AC name"),
            ("a --usr x", "--usr"),
            ("a --user", "--user"),
            ("a --env A", "NAME=VALUE"),
            ("a --name X_Y", "--name"),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let error = parse(&words).unwrap_err();
            assert!(error.one_line().contains(part), "{}", error.one_line());
        }
    }

    #[test]
    fn the_help_lists_every_flag() {
        for argument in AppArgs::command().get_arguments().filter_map(|a| a.get_long()) {
            assert!(HELP.contains(&format!("--{argument}")), "{argument}");
        }
        for argument in AppArgs::command().get_arguments().filter_map(|a| a.get_short()) {
            assert!(HELP.contains(&format!("\n  -{argument} ")), "{argument}");
        }
    }
}
