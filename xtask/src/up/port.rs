//! Loopback ports for the gateway.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};

/// The port `wanted`, or one that is free.
///
/// # Errors
/// When the port is taken: with the command that shows by whom.
pub(crate) fn choose(wanted: Option<u16>) -> Result<u16> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, wanted.unwrap_or(0))) {
        Ok(listener) => Ok(listener.local_addr().context("cannot read the chosen port")?.port()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let port = wanted.unwrap_or_default();
            bail!(
                "port {port} is taken; `ss -ltnp 'sport = :{port}'` shows by whom, another --port or none at all avoids it"
            )
        }
        Err(error) => Err(error).context("cannot use a loopback port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_the_command_that_shows_by_whom() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = choose(Some(port)).unwrap_err().to_string();
        assert!(error.contains(&format!("ss -ltnp 'sport = :{port}'")), "{error}");
    }

    #[test]
    fn without_a_wish_any_free_port_will_do() {
        assert_ne!(choose(None).unwrap(), 0);
    }
}
