//! `jetpack fetch`

use clap::{Args, ValueEnum};

use super::saveid::SaveId;
use super::{FAILED, Host, import, output};
use crate::error::{Context, Error, Result};
use crate::stage0::discovery::ImageRef;
use crate::stage0::fetch::{self, Fetcher, Web, Wish};
use crate::stage0::image::Image;
use crate::stage0::import::Imported;
use crate::stage0::location::Location;
use crate::stage0::package::Arrived;
use crate::stage0::store::Store;

/// Bring images in by their names
///
/// A name such as example.com/app:1.2 is looked for on the web: the page https://example.com/app, or one above it, says in a
/// tag where the image is. A URL or the path of a file (/path, ./path) may stand in place of a name. The ids of the images
/// are printed. Where one cannot be fetched, the others are nevertheless.
#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// When to ask the server
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Pull::New)]
    pull: Pull,
    #[command(flatten)]
    saveid: SaveId,
    /// The images: names[:version][,label=value…], URLs, or paths
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// When to ask the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Pull {
    /// If the store has no such image
    New,
    /// In any case; what has not changed is not fetched again
    Always,
    /// Not at all
    Never,
}

impl From<Pull> for fetch::Pull {
    fn from(pull: Pull) -> fetch::Pull {
        match pull {
            Pull::New => fetch::Pull::New,
            Pull::Always => fetch::Pull::Always,
            Pull::Never => fetch::Pull::Never,
        }
    }
}

impl Fetch {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let web = host.web()?;
        let mut code = 0;
        let mut ids = Vec::new();
        for name in &self.names {
            host.note(|| format!("fetching {name}"));
            match self.fetch(host, &store, &web, name).and_then(|image| tell(host, &image).map(|()| image.image.id)) {
                Ok(id) => ids.push(id.to_string()),
                Err(error) => {
                    output::error(&error);
                    code = FAILED;
                }
            }
        }
        if !ids.is_empty() {
            self.saveid.save(&ids.join("\n"))?;
        }
        Ok(code)
    }

    fn fetch(&self, host: &Host, store: &Store, web: &Web, name: &str) -> Result<Imported> {
        let pull = self.pull.into();
        let Some(location) = location(name)? else {
            let wish = Wish { reference: ImageRef::parse(name)?, id: None, most: None };
            return Fetcher::new(store, web, host, host.policy()?, pull).by_name(&wish, name);
        };
        let arrived = import::bring(host, store, (&location, None), None, pull)?;
        match arrived {
            Arrived::Image(imported) => Ok(*imported),
            Arrived::Pod(id) => Err(Error::new(format!("{name} was the pod {id}, which is here now"))),
        }
    }
}

/// What is no name: a URL, or a path that begins as paths do.
fn location(text: &str) -> Result<Option<Location>> {
    let is_location = text.contains(":/") || text.starts_with(['/', '.']);
    is_location.then(|| text.parse()).transpose().context(|| format!("cannot fetch {text}"))
}

/// Tells of an image that is here now.
fn tell(host: &Host, imported: &Imported) -> Result<()> {
    imported.warnings.iter().for_each(|warning| host.warn(warning));
    let (id, name) = (imported.image.id.as_str(), &imported.image.manifest.name);
    host.note(|| format!("{name} is {id}, from {}", imported.image.record.origin));
    if host.json() {
        return output::json(&serde_json::json!({ "id": id, "name": name, "known": imported.known }));
    }
    output::line(id)
}

/// The image that a command is to use: one of the store, or one that is fetched by its name, if the configuration lets commands do so.
pub(super) fn find(host: &Host, store: &Store, reference: &str, pull: Pull) -> Result<Image> {
    let wanted = match pull {
        Pull::Never => None,
        Pull::New if !store.find_images(reference)?.is_empty() => None,
        Pull::New | Pull::Always => ImageRef::parse(reference).ok().filter(ImageRef::is_discoverable),
    };
    let Some(wanted) = wanted else { return store.find_image(reference) };
    if !host.config.flag("allow.autodiscovery").context(|| "cannot read the configuration")? {
        if pull == Pull::Always {
            return Err(Error::new(format!("cannot ask for {reference}: `allow.autodiscovery` is off")).help(format!(
                "`jetpack fetch --pull always {reference}` asks, and without `--pull always` what is here will do"
            )));
        }
        return store.find_image(reference).map_err(|error| {
            error.help(format!("`allow.autodiscovery` is off: `jetpack fetch {reference}` brings it in"))
        });
    }
    host.note(|| format!("fetching {reference}"));
    let wish = Wish { reference: wanted, id: None, most: None };
    let web = host.web()?;
    let fetched = Fetcher::new(store, &web, host, host.policy()?, pull.into()).by_name(&wish, reference)?;
    fetched.warnings.iter().for_each(|warning| host.warn(warning));
    Ok(fetched.image)
}
