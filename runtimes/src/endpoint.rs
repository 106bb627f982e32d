//! Where an engine listens, and byte connections to it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::error::EngineError;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// A socket of this host.
    Unix(PathBuf),
    /// `host:port`, plain HTTP.
    Tcp(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

pub(crate) type Reader = Pin<Box<dyn AsyncRead + Send>>;
pub(crate) type Writer = Pin<Box<dyn AsyncWrite + Send>>;

impl Endpoint {
    /// A fresh connection. Dropping the writer ends its direction only.
    pub(crate) async fn dial(&self) -> io::Result<(Reader, Writer)> {
        match self {
            Self::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                Ok((Box::pin(reader), Box::pin(writer)))
            }
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let (reader, writer) = stream.into_split();
                Ok((Box::pin(reader), Box::pin(writer)))
            }
        }
    }
}

/// An engine's place together with its name, for error texts.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) engine: &'static str,
    pub(crate) endpoint: Endpoint,
}

impl Target {
    pub(crate) fn unreachable(&self, reason: String) -> EngineError {
        EngineError::Unreachable { engine: self.engine, endpoint: self.endpoint.to_string(), reason }
    }
}
