//! The addresses that `DOCKER_HOST`, `CONTAINER_HOST` and contexts may hold.

use std::path::PathBuf;

use crate::endpoint::Endpoint;

/// The place behind an address, or what is wrong with it.
pub(super) fn parse(value: &str) -> Result<Endpoint, String> {
    let Some((scheme, rest)) = value.split_once("://") else {
        return Err("it must begin with `unix://` or `tcp://`".into());
    };
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Endpoint::Unix(PathBuf::from(rest))),
        "unix" => Err("the socket's path must be absolute, as in `unix:///run/docker.sock`".into()),
        "tcp" | "http" => {
            let address = rest.trim_end_matches('/');
            let port = address.rsplit_once(':').and_then(|(host, port)| {
                Some(port.parse::<u16>().ok()?).filter(|port| *port != 0 && !host.is_empty())
            });
            match port {
                Some(_) if !address.contains(['/', '?', '#', '@', ' ']) => Ok(Endpoint::Tcp(address.into())),
                _ => Err("it must be a host and a port, as in `tcp://127.0.0.1:2375`".into()),
            }
        }
        "https" => Err("engines behind TLS are not supported: forward the socket to this host".into()),
        "ssh" => Err("engines behind SSH are not supported: forward the socket to this host, as in \
                      `ssh -L /path/docker.sock:/var/run/docker.sock HOST`"
            .into()),
        other => Err(format!("`{other}://` is not supported: use `unix://` or `tcp://`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_plain_tcp_are_understood() {
        assert_eq!(parse("unix:///run/x.sock"), Ok(Endpoint::Unix("/run/x.sock".into())));
        assert_eq!(parse("tcp://127.0.0.1:2375"), Ok(Endpoint::Tcp("127.0.0.1:2375".into())));
        assert_eq!(parse("tcp://[::1]:2375/"), Ok(Endpoint::Tcp("[::1]:2375".into())));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (value, words) in [
            ("ssh://me@host", "SSH"),
            ("https://host:2376", "TLS"),
            ("npipe:////./pipe/docker", "`npipe://`"),
            ("unix://run/x.sock", "absolute"),
            ("/run/x.sock", "`unix://`"),
            ("tcp://host", "port"),
            ("tcp://host:0", "port"),
            ("tcp://host:99999", "port"),
            ("tcp://:2375", "host"),
            ("tcp://a/b:1", "host"),
        ] {
            let reason = parse(value).unwrap_err();
            assert!(reason.contains(words), "{value}: {reason}");
        }
    }
}
