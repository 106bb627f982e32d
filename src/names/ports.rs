//! Lists of TCP ports as people type them.

use std::str::FromStr;

use super::NameError;

/// Ports from 1 to 65535 with commas in between (`3000,8080`), each once, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortList(Vec<u16>);

impl PortList {
    /// The ports.
    pub fn ports(&self) -> &[u16] {
        &self.0
    }
}

impl FromStr for PortList {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut ports = Vec::new();
        for part in text.split(',').map(str::trim) {
            // No sign, no leading blank: a number as a person writes it.
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            match part.parse::<u16>() {
                Ok(port @ 1..) if digits => {
                    if !ports.contains(&port) {
                        ports.push(port);
                    }
                }
                _ => {
                    return Err(NameError::new(
                        "port",
                        part,
                        "use numbers from 1 to 65535, with commas in between",
                    ));
                }
            }
        }
        Ok(Self(ports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_each_port_once() {
        assert_eq!("3000, 8080,3000".parse::<PortList>().unwrap().ports(), [3000, 8080]);
        for bad in ["", "0", "65536", "80,", "+80", "-1", "http", "8080:80", "80 81"] {
            let error = bad.parse::<PortList>().unwrap_err().to_string();
            assert!(error.contains("1 to 65535"), "{bad}: {error}");
        }
    }
}
