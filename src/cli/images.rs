//! `jetpack images`

use std::collections::HashMap;

use clap::Args;
use serde::Serialize;

use super::{Host, output};
use crate::appc::ImageId;
use crate::error::Result;
use crate::stage0::image::{Image, Record};
use crate::stage0::tags::Tag;

/// List the images in the store
#[derive(Debug, Args)]
pub(super) struct Images {
    /// Print no head line
    #[arg(short = 'H')]
    bare: bool,
    /// Print whole ids
    #[arg(short = 'l')]
    long: bool,
}

/// An image, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    labels: &'a crate::appc::Labels,
    tags: Vec<String>,
    #[serde(flatten)]
    record: &'a Record,
}

impl<'a> Shown<'a> {
    /// An image that has these tags.
    pub(super) fn new(image: &'a Image, tags: &[Tag]) -> Shown<'a> {
        let manifest = &image.manifest;
        Shown {
            id: image.id.as_str(),
            name: manifest.name.as_str(),
            labels: &manifest.labels,
            tags: tags.iter().map(Tag::to_string).collect(),
            record: &image.record,
        }
    }
}

impl Images {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let listed = store.list_images()?;
        listed.broken.iter().for_each(|(_, error)| host.warn(&error.one_line()));
        let images = listed.whole;
        let mut tags: HashMap<ImageId, Vec<Tag>> = HashMap::new();
        store.tags()?.into_iter().for_each(|(tag, id)| tags.entry(id).or_default().push(tag));
        let tags_of = |image: &Image| tags.get(&image.id).map_or(&[][..], Vec::as_slice);
        if host.json() {
            output::json(&images.iter().map(|image| Shown::new(image, tags_of(image))).collect::<Vec<_>>())?;
        } else if host.global.quiet {
            let text: String = images.iter().map(|image| format!("{}\n", image.id)).collect();
            output::print(&text)?;
        } else {
            let rows: Vec<Vec<String>> = images.iter().map(|image| self.row(image, tags_of(image))).collect();
            output::table(&["ID", "NAME", "VERSION", "TAGS", "FOR", "SIZE", "IMPORTED"], &rows, self.bare)?;
        }
        Ok(0)
    }

    fn row(&self, image: &Image, tags: &[Tag]) -> Vec<String> {
        let tags: Vec<&str> = tags.iter().map(Tag::word).collect();
        vec![
            if self.long { image.id.to_string() } else { image.id.short().to_owned() },
            image.manifest.name.to_string(),
            or_dash(image.version()),
            or_dash(&tags.join(" ")),
            platform(image),
            output::bytes(image.record.size),
            output::ago(output::moment(image.record.imported)),
        ]
    }
}

/// `os/arch`, as far as the image says.
pub(super) fn platform(image: &Image) -> String {
    let label = |name| image.manifest.labels.get(name);
    match (label("os"), label("arch")) {
        (Some(os), Some(arch)) => format!("{os}/{arch}"),
        (Some(os), None) => os.to_owned(),
        _ => "any".to_owned(),
    }
}

pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
