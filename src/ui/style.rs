//! Colours, where there is a terminal that wants them. A meaning never rests on a colour alone.

/// Colours in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Fine.
    Green,
    /// Look at this.
    Yellow,
    /// Not fine.
    Red,
    /// Advice.
    Cyan,
    /// Headings.
    Bold,
}

/// Whether one stream is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    coloured: bool,
}

impl Style {
    /// Coloured or plain.
    pub const fn new(coloured: bool) -> Self {
        Self { coloured }
    }

    /// The text, in a colour where this stream has colours.
    pub fn paint(self, colour: Colour, text: &str) -> String {
        if !self.coloured {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Red => 31,
            Colour::Cyan => 36,
            Colour::Bold => 1,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_stream_gets_no_escape_sequences() {
        assert_eq!(Style::new(false).paint(Colour::Red, "x"), "x");
        assert_eq!(Style::new(true).paint(Colour::Red, "x"), "\x1b[31mx\x1b[0m");
    }
}
