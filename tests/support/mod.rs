//! What the tests share: stores of their own, archives made on the spot, and the command under test.

pub(crate) mod archive;
pub(crate) mod bounded;
pub(crate) mod command;
pub(crate) mod gpg;
pub(crate) mod host;
pub(crate) mod hostile;
pub(crate) mod pty;
pub(crate) mod server;
