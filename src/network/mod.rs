//! What network a pod gets: one small trait, and its backends.
//!
//! | backend | a pod sees |
//! |---|---|
//! | `none` | a network of its own with a loopback interface and nothing else (in a jail: no network at all) |
//! | `host` | the host's |
//!
//! With addresses, which have to be the host's already, both give a jail the host's network with these addresses alone.

use std::net::IpAddr;

use crate::error::{Context, Error, Result};
use crate::sys;

/// What a backend did for a pod, for the sandbox to be made accordingly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Whether the pod has a network of its own rather than the host's.
    pub own: bool,
    /// The addresses of the host's that are all that the pod has; if there are any, it has nothing else.
    pub addresses: Vec<IpAddr>,
}

/// Connects pods.
pub trait Network {
    /// The word by which the command line and the pod's manifest name this backend.
    fn name(&self) -> &'static str;

    /// Makes what the pod needs on the host, for the addresses that it is to have, if any.
    ///
    /// # Errors
    /// The host refuses, or the pod cannot have those addresses; whatever was made is gone again.
    fn attach(&self, pod: &str, addresses: &[IpAddr]) -> Result<Attachment>;

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

    fn attach(&self, _pod: &str, addresses: &[IpAddr]) -> Result<Attachment> {
        Ok(Attachment { own: true, addresses: of_the_host(self.name(), addresses)? })
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

    fn attach(&self, _pod: &str, addresses: &[IpAddr]) -> Result<Attachment> {
        Ok(Attachment { own: false, addresses: of_the_host(self.name(), addresses)? })
    }

    fn detach(&self, _pod: &str) -> Result<()> {
        Ok(())
    }
}

/// These addresses, all of which the host has already.
fn of_the_host(network: &str, addresses: &[IpAddr]) -> Result<Vec<IpAddr>> {
    let Some(first) = addresses.first() else { return Ok(Vec::new()) };
    if !sys::os::SHARES_ADDRESSES {
        return Err(Error::new(format!("the network {network} cannot give a pod the address {first}"))
            .help("only jails (FreeBSD) can have addresses of the host: leave the annotation ip-address out"));
    }
    let there = sys::addresses::addresses().context(|| "cannot look at the host's addresses")?;
    match addresses.iter().find(|address| !there.contains(address)) {
        None => Ok(addresses.to_vec()),
        Some(missing) => {
            let (family, bits) = if missing.is_ipv4() { ("inet", 32) } else { ("inet6", 128) };
            Err(Error::new(format!("this host does not have the pod's address {missing}")).help(format!(
                "the annotation ip-address takes addresses that the host has: `ifconfig lo1 {family} {missing}/{bits} alias` \
                 adds it to an interface"
            )))
        }
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

    use super::{Attachment, Error, IpAddr, Network, Result};

    /// Remembers the pods attached to it, and refuses one that is attached already.
    #[derive(Debug, Default)]
    pub struct Fake {
        pub(super) attached: RefCell<BTreeSet<String>>,
    }

    impl Network for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }

        fn attach(&self, pod: &str, addresses: &[IpAddr]) -> Result<Attachment> {
            if !self.attached.borrow_mut().insert(pod.to_owned()) {
                return Err(Error::new(format!("pod {pod} is attached already")));
            }
            Ok(Attachment { own: false, addresses: addresses.to_vec() })
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
            let own = network.attach("pod", &[]).unwrap().own;
            assert_eq!(own, name == "none");
            network.detach("pod").unwrap();
        }
    }

    #[test]
    fn a_pod_has_addresses_that_the_host_has_or_none() {
        let here: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap()];
        let elsewhere: Vec<IpAddr> = vec![here[0], "192.0.2.1".parse().unwrap()];
        for name in ["none", "host"] {
            let network = by_name(name).unwrap();
            let attached = network.attach("pod", &here);
            let refused = network.attach("pod", &elsewhere).unwrap_err();
            assert!(refused.help_line().is_some());
            if sys::os::SHARES_ADDRESSES {
                assert_eq!(attached.unwrap().addresses, here);
                assert_eq!(refused.to_string(), "this host does not have the pod's address 192.0.2.1");
            } else {
                let expected = format!("the network {name} cannot give a pod the address 127.0.0.1");
                assert_eq!((attached.unwrap_err().to_string(), refused.to_string()), (expected.clone(), expected));
            }
        }
    }

    #[cfg(feature = "testing")]
    #[test]
    fn the_fake_knows_who_is_attached() {
        let fake = Fake::default();
        fake.attach("pod", &[]).unwrap();
        assert!(fake.attach("pod", &[]).is_err());
        fake.detach("pod").unwrap();
        assert!(fake.attached.borrow().is_empty());
    }
}
