//! The addresses of this host.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

use super::{Call, Result};

/// The IP addresses that the host's interfaces have, in the kernel's order.
///
/// # Errors
/// The call that failed.
pub fn addresses() -> Result<Vec<IpAddr>> {
    let all = getifaddrs().call(|| "getifaddrs()")?.filter_map(|interface| interface.address);
    let address = |socket: nix::sys::socket::SockaddrStorage| {
        let four = socket.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        four.or_else(|| socket.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    Ok(all.filter_map(address).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_host_has_its_loopback_address_and_none_of_others() {
        let all = super::addresses().unwrap();
        assert!(all.contains(&"127.0.0.1".parse().unwrap()), "{all:?}");
        assert!(!all.contains(&"192.0.2.1".parse().unwrap()), "{all:?}");
    }
}
