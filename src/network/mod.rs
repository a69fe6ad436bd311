//! What network a pod gets: one small trait, and its backends.
//!
//! | backend | a pod sees |
//! |---|---|
//! | `none` | a network of its own with a loopback interface and nothing else (in a jail: no network at all) |
//! | `host` | the host's |

use crate::error::{Error, Result};

/// What a backend did for a pod, for the sandbox to be made accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Whether the pod has a network of its own rather than the host's.
    pub own: bool,
}

/// Connects pods.
pub trait Network {
    /// The word by which the command line and the pod's manifest name this backend.
    fn name(&self) -> &'static str;

    /// Makes what the pod needs on the host.
    ///
    /// # Errors
    /// The host refuses; whatever was made is gone again.
    fn attach(&self, pod: &str) -> Result<Attachment>;

    /// Removes what [`Network::attach`] made; nothing to remove is no error.
    ///
    /// # Errors
    /// The host refuses.
    fn detach(&self, pod: &str) -> Result<()>;
}

/// No connection.
#[derive(Debug)]
pub struct Unconnected;

impl Network for Unconnected {
    fn name(&self) -> &'static str {
        "none"
    }

    fn attach(&self, _pod: &str) -> Result<Attachment> {
        Ok(Attachment { own: true })
    }

    fn detach(&self, _pod: &str) -> Result<()> {
        Ok(())
    }
}

/// The host's own network.
#[derive(Debug)]
pub struct Host;

impl Network for Host {
    fn name(&self) -> &'static str {
        "host"
    }

    fn attach(&self, _pod: &str) -> Result<Attachment> {
        Ok(Attachment { own: false })
    }

    fn detach(&self, _pod: &str) -> Result<()> {
        Ok(())
    }
}

/// The backend called `name`.
///
/// # Errors
/// There is none of that name; the error lists them.
pub fn by_name(name: &str) -> Result<Box<dyn Network>> {
    match name {
        "none" => Ok(Box::new(Unconnected)),
        "host" => Ok(Box::new(Host)),
        #[cfg(feature = "testing")]
        "fake" => Ok(Box::new(fake::Fake::default())),
        _ => Err(Error::new(format!("there is no network {name:?}")).help("choose `none` or `host`")),
    }
}

#[cfg(feature = "testing")]
mod fake {
    //! A network that counts who is attached, for tests.

    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::{Attachment, Error, Network, Result};

    /// Remembers the pods attached to it, and refuses one that is attached already.
    #[derive(Debug, Default)]
    pub struct Fake {
        pub(super) attached: RefCell<BTreeSet<String>>,
    }

    impl Network for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }

        fn attach(&self, pod: &str) -> Result<Attachment> {
            if !self.attached.borrow_mut().insert(pod.to_owned()) {
                return Err(Error::new(format!("pod {pod} is attached already")));
            }
            Ok(Attachment { own: false })
        }

        fn detach(&self, pod: &str) -> Result<()> {
            self.attached.borrow_mut().remove(pod);
            Ok(())
        }
    }
}

#[cfg(feature = "testing")]
pub use fake::Fake;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_backends_and_back() {
        for name in ["none", "host"] {
            assert_eq!(by_name(name).unwrap().name(), name);
        }
        assert!(by_name("bridge").is_err());
    }

    #[test]
    fn every_backend_detaches_what_was_never_attached() {
        for name in ["none", "host"] {
            let network = by_name(name).unwrap();
            network.detach("pod").unwrap();
            let own = network.attach("pod").unwrap().own;
            assert_eq!(own, name == "none");
            network.detach("pod").unwrap();
        }
    }

    #[cfg(feature = "testing")]
    #[test]
    fn the_fake_knows_who_is_attached() {
        let fake = Fake::default();
        fake.attach("pod").unwrap();
        assert!(fake.attach("pod").is_err());
        fake.detach("pod").unwrap();
        assert!(fake.attached.borrow().is_empty());
    }
}
