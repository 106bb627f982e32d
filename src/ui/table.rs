//! Tables aligned by spaces, at least two between columns, nothing after the last.

use super::style::{Colour, Style};

/// Rows under a header.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<&'static str>,
    bold: bool,
    rows: Vec<Vec<Cell>>,
}

/// Text of one place in a table, and its colour.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: super::clean(&text.into()), colour: None }
    }
}

impl Cell {
    /// A coloured cell.
    pub fn coloured(text: &str, colour: Colour) -> Self {
        Self { text: super::clean(text), colour: Some(colour) }
    }
}

impl Table {
    /// A table with these columns.
    pub fn new(header: impl IntoIterator<Item = &'static str>) -> Self {
        Self { header: header.into_iter().collect(), bold: false, rows: Vec::new() }
    }

    /// The header in bold, where there are colours.
    pub fn bold_header(mut self) -> Self {
        self.bold = true;
        self
    }

    /// Adds a row; it has as many cells as the header.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// All lines, each with its end.
    pub fn render(&self, style: Style) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0);
            widest.max(self.header[column].len())
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let heading = self.bold.then_some(Colour::Bold);
        let header: Vec<Cell> =
            self.header.iter().map(|text| Cell { text: (*text).into(), colour: heading }).collect();
        let mut text = String::new();
        for row in std::iter::once(&header).chain(&self.rows) {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(&match cell.colour {
                    Some(colour) => style.paint(colour, &cell.text),
                    None => cell.text.clone(),
                });
                if column + 1 < row.len() {
                    let gap = widths[column] + 2 - cell.text.chars().count();
                    text.extend(std::iter::repeat_n(' ', gap));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_at_least_two_spaces() {
        let mut table = Table::new(["NAME", "STATUS"]);
        table.row(["a".into(), "running".into()]);
        table.row(["longer-name".into(), Cell::coloured("grace period", Colour::Yellow)]);
        assert_eq!(
            table.render(Style::new(false)),
            "NAME         STATUS\na            running\nlonger-name  grace period\n"
        );
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let mut table = Table::new(["A", "B"]);
        table.row([Cell::coloured("x", Colour::Green), "y".into()]);
        assert_eq!(table.render(Style::new(true)), "A  B\n\x1b[32mx\x1b[0m  y\n");
    }
}
