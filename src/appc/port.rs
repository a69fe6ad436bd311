//! Ports: those an app listens on (aci.md) and those a pod shows on the host (pods.md).

use std::net::Ipv4Addr;

use serde::Serialize;
use serde_json::Value;

use super::error::Error;
use super::json::{Fields, FromJson};
use super::name::AcName;

/// A port, or a range of ports, that an app listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// What the pod manifest calls it by.
    pub name: AcName,
    /// The protocol, such as `tcp` or `udp`; any text but the empty one.
    pub protocol: String,
    /// The first port, 1 to 65535.
    pub port: u16,
    /// How many ports there are, from `port` upwards; at least 1.
    #[serde(skip_serializing_if = "is_one")]
    pub count: u16,
    /// Whether the app expects its sockets to be open already and passed to it.
    #[serde(skip_serializing_if = "is_false")]
    pub socket_activated: bool,
}

/// For fields that are written only when they are not the default.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_one(count: &u16) -> bool {
    *count == 1
}

/// For fields that are written only when they are not the default.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(super) fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Port {
    /// Checks the numbers and the protocol.
    pub(super) fn validate(&self) -> Result<(), Error> {
        check_number(self.port).map_err(|e| e.field("port"))?;
        if self.protocol.is_empty() {
            return Err(Error::missing("protocol"));
        }
        if self.count == 0 {
            return Err(Error::new("0 is not a count of ports").field("count"));
        }
        if self.port.checked_add(self.count - 1).is_none() {
            let problem = format!("{} ports from {} on go beyond port 65535", self.count, self.port);
            return Err(Error::new(problem).field("count"));
        }
        Ok(())
    }
}

fn check_number(port: u16) -> Result<(), Error> {
    if port == 0 { Err(Error::new("0 is not a port number between 1 and 65535")) } else { Ok(()) }
}

impl FromJson for Port {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(Port {
            name: fields.required("name")?,
            protocol: fields.required_text("protocol")?,
            port: fields.required("port")?,
            // The specification wants 1 or more, but the Go schema wrote 0 into manifests for "not given".
            count: fields.optional("count")?.unwrap_or(1).max(1),
            socket_activated: fields.or_default("socketActivated")?,
        })
    }
}

/// A port of the host that leads to one of the pod's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExposedPort {
    /// The name of the app's port, unless `pod_port` says otherwise.
    pub name: AcName,
    /// The port on the host, 1 to 65535.
    pub host_port: u16,
    /// The host's address to forward from; all of them where there is none.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<Ipv4Addr>,
    /// The port in the pod, in place of whatever the images say about `name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_port: Option<Port>,
}

impl ExposedPort {
    /// Checks the numbers.
    pub(super) fn validate(&self) -> Result<(), Error> {
        check_number(self.host_port).map_err(|e| e.field("hostPort"))?;
        self.pod_port.as_ref().map_or(Ok(()), Port::validate).map_err(|e| e.field("podPort"))
    }
}

impl FromJson for ExposedPort {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(ExposedPort {
            name: fields.required("name")?,
            host_port: fields.required("hostPort")?,
            host_ip: fields.optional("hostIP")?,
            pod_port: fields.optional("podPort")?,
        })
    }
}

impl FromJson for Ipv4Addr {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let text = String::from_json(value)?;
        text.parse().map_err(|_| Error::bad(&text, "is not an IPv4 address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appc::json::parse;

    fn port(text: &str) -> Result<String, String> {
        let read = parse::<Port>(text.as_bytes()).and_then(|port| port.validate().map(|()| port));
        read.map(|port| serde_json::to_string(&port).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn ports() {
        for (text, wanted) in [
            (
                r#"{"name": "a", "port": 80, "protocol": "tcp", "count": 0, "socketActivated": false}"#,
                Ok(r#"{"name":"a","protocol":"tcp","port":80}"#),
            ),
            (
                r#"{"name": "a", "port": 65535, "protocol": "tcp", "count": 1, "socketActivated": true}"#,
                Ok(r#"{"name":"a","protocol":"tcp","port":65535,"socketActivated":true}"#),
            ),
            (
                r#"{"name": "a", "port": 20000, "protocol": "sctp", "count": 1000}"#,
                Ok(r#"{"name":"a","protocol":"sctp","port":20000,"count":1000}"#),
            ),
            (r#"{"name": "a", "port": 0, "protocol": "tcp"}"#, Err("port: 0 is not a port number between 1 and 65535")),
            (
                r#"{"name": "a", "port": 88888, "protocol": "tcp"}"#,
                Err("port: 88888 is not an integer between 0 and 65535"),
            ),
            (
                r#"{"name": "a", "port": 65535, "protocol": "tcp", "count": 2}"#,
                Err("count: 2 ports from 65535 on go beyond port 65535"),
            ),
            (r#"{"name": "a", "port": 80}"#, Err("protocol: required but missing")),
            (r#"{"port": 80, "protocol": "tcp"}"#, Err("name: required but missing")),
        ] {
            assert_eq!(port(text), wanted.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn exposed_ports() {
        for (text, wanted) in [
            (r#"{"name":"ftp","hostPort":2121}"#, None),
            (
                r#"{"name":"ftp","hostPort":1,"hostIP":"203.0.113.23","podPort":{"name":"x","protocol":"tcp","port":1}}"#,
                None,
            ),
            (r#"{"name":"ftp","hostPort":0}"#, Some("hostPort: 0 is not a port number between 1 and 65535")),
            (r#"{"name":"ftp","hostPort":1,"hostIP":"::1"}"#, Some("hostIP: \"::1\" is not an IPv4 address")),
            (
                r#"{"name":"ftp","hostPort":1,"podPort":{"name":"x","protocol":"tcp","port":0}}"#,
                Some("podPort.port: 0 is not a port number between 1 and 65535"),
            ),
        ] {
            let read = parse::<ExposedPort>(text.as_bytes()).and_then(|port| port.validate().map(|()| port));
            match (read, wanted) {
                (Ok(port), None) => assert_eq!(serde_json::to_string(&port).unwrap(), text),
                (read, wanted) => assert_eq!(read.err().map(|e| e.to_string()).as_deref(), wanted, "{text}"),
            }
        }
    }
}
