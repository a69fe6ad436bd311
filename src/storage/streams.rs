//! Layers and what pods have as streams: what `zfs send` writes.

use std::fs::File;

use super::Staging;
use crate::error::Result;

/// What a pod has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The root of the app of this name.
    Root(&'a str),
    /// The volume of this name.
    Volume(&'a str),
}

/// What layers, and what pods have, are made of.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The stream.
    pub stream: &'a File,
    /// The layer that it builds on.
    pub base: Option<&'a str>,
}

/// Moves layers, and what pods have, between stores of one kind. A *base* is a layer that both stores have, of which the layer or
/// root was made as a clone: then the stream holds only what differs. Both stores must have that layer from one stream; that
/// they have the same image is not enough.
///
/// A stream holds files and nothing else: what a dataset is called, where it is mounted and what may be done with it is this
/// store's to say. One that would bring anything else is refused.
pub trait Streams {
    /// Writes the layer `name` to `out`.
    ///
    /// # Errors
    /// It is missing, or was not made of `base`; the disk is full, or a signal has arrived.
    fn send_layer(&self, name: &str, base: Option<&str>, out: &File) -> Result<()>;

    /// A private place that holds the layer of the stream: as [`Storage::begin_layer`](super::Storage::begin_layer) gives one, but
    /// its tree must not be changed any more.
    ///
    /// # Errors
    /// The stream is broken or is not that of a layer, or the base is missing; the disk is full, or a signal has arrived. Nothing is
    /// left then.
    fn receive_layer(&self, source: Source<'_>) -> Result<Staging>;

    /// Writes what a pod has to `out`. Nobody may be working in it.
    ///
    /// # Errors
    /// As for a layer.
    fn send_part(&self, pod: &str, part: Part<'_>, base: Option<&str>, out: &File) -> Result<()>;

    /// Makes what a pod has of a stream; [`Storage::create_pod`](super::Storage::create_pod) has made the place. It may hold `most`
    /// bytes with all that is its own.
    ///
    /// # Errors
    /// As for a layer. A part of it may be there then, and goes with the pod.
    fn receive_part(&self, pod: &str, part: Part<'_>, source: Source<'_>, most: Option<u64>) -> Result<()>;

    /// The names of the pods of which something is being sent or received, or was when a command was killed.
    ///
    /// # Errors
    /// The backend fails.
    fn unfinished(&self) -> Result<Vec<String>>;

    /// Removes what a killed command left of sending what a pod has. The caller keeps others from sending it.
    ///
    /// # Errors
    /// The backend fails.
    fn forget_sending(&self, pod: &str) -> Result<()>;
}
