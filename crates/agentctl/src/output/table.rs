//! Aligned columns without borders, fitted to the terminal's width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::sanitize::sanitize;
use super::style::Style;

/// Blank columns between two columns of text.
const GAP: usize = 2;
/// A column is not made narrower than this; it is left out instead.
const NARROWEST: usize = 8;

/// A text and how it is shown. The text may come from anywhere: it is made harmless when it is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) style: Style,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::Plain }
    }

    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// On which side a column's texts are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    /// For numbers.
    Right,
}

/// One column: its head and how its cells stand.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    head: String,
    align: Align,
    /// May be cut with `…` when the terminal is too narrow.
    flexible: bool,
    /// Width it has even where its texts are shorter, so that tables written one after the other align.
    least: usize,
}

impl Column {
    pub(crate) fn left(head: impl Into<String>) -> Self {
        Self { head: head.into(), align: Align::Left, flexible: false, least: 0 }
    }

    pub(crate) fn right(head: impl Into<String>) -> Self {
        Self { head: head.into(), align: Align::Right, flexible: false, least: 0 }
    }

    /// Makes the column at least so wide.
    pub(crate) fn at_least(mut self, width: usize) -> Self {
        self.least = width;
        self
    }

    /// Lets the column be cut when the terminal is too narrow.
    pub(crate) fn flexible(mut self) -> Self {
        self.flexible = true;
        self
    }
}

/// Rows of cells under heads.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    without_head: bool,
}

/// What was made of a table: styled lines, and the heads of the columns that did not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) lines: Vec<Vec<(String, Style)>>,
    pub(crate) left_out: Vec<String>,
}

impl Table {
    pub(crate) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new(), without_head: false }
    }

    /// Two columns, a name and its value, without heads.
    pub(crate) fn fields() -> Self {
        Self::new([Column::left(""), Column::left("").flexible()]).without_head()
    }

    /// Leaves out the line of heads.
    pub(crate) fn without_head(mut self) -> Self {
        self.without_head = true;
        self
    }

    /// Adds a row; missing cells are empty, surplus ones are left out.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a name and its value.
    pub(crate) fn field(&mut self, name: &str, value: impl Into<Cell>) {
        self.row([Cell::styled(name, Style::Dim), value.into()]);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lines of at most `width` columns; as wide as the texts are where there is no width.
    pub(crate) fn layout(&self, width: Option<usize>) -> Layout {
        let text = |row: &Vec<Cell>, index: usize| {
            row.get(index).map_or_else(String::new, |cell| sanitize(&cell.text).into_owned())
        };
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| (0..self.columns.len()).map(|index| text(row, index)).collect())
            .collect();
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let cells = rows.iter().filter_map(|row| row.get(index)).map(|text| text.width());
                cells.max().unwrap_or(0).max(column.head.width()).max(column.least)
            })
            .collect();
        let shown = width.map_or(self.columns.len(), |width| self.fit(&mut widths, width));
        let line = |cells: &mut dyn Iterator<Item = (&str, Style)>| {
            let mut line = Vec::new();
            for ((index, (text, style)), column) in cells.enumerate().zip(&self.columns).take(shown) {
                let cell_width = widths.get(index).copied().unwrap_or(0);
                let text = cut(text, cell_width);
                let blank = cell_width.saturating_sub(text.width());
                let gap = if index == 0 { 0 } else { GAP };
                let (before, after) = match column.align {
                    Align::Left => (gap, if index + 1 == shown { 0 } else { blank }),
                    Align::Right => (gap + blank, 0),
                };
                line.push((" ".repeat(before), Style::Plain));
                line.push((text, style));
                line.push((" ".repeat(after), Style::Plain));
            }
            line
        };
        let mut lines = Vec::with_capacity(rows.len() + 1);
        if !self.without_head {
            lines.push(line(&mut self.columns.iter().map(|column| (column.head.as_str(), Style::Heading))));
        }
        for (row, texts) in self.rows.iter().zip(&rows) {
            let styles = row.iter().map(|cell| cell.style).chain(std::iter::repeat(Style::Plain));
            lines.push(line(&mut texts.iter().map(String::as_str).zip(styles)));
        }
        let left_out = self.columns.iter().skip(shown).map(|column| column.head.clone()).collect();
        Layout { lines, left_out }
    }

    /// Narrows `widths` to `width` and says how many columns are shown: flexible ones give way first, the widest of
    /// them before the others; then whole columns are left out from the right.
    fn fit(&self, widths: &mut Vec<usize>, width: usize) -> usize {
        loop {
            let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
            let Some(excess) = total.checked_sub(width).filter(|excess| *excess > 0) else { break };
            let flexible = self.columns.iter().zip(widths.iter_mut()).filter(|(column, _)| column.flexible);
            let widest =
                flexible.map(|(_, cell)| cell).max_by_key(|cell| **cell).filter(|cell| **cell > NARROWEST);
            if let Some(cell) = widest {
                *cell = cell.saturating_sub(excess).max(NARROWEST);
            } else if widths.len() > 1 {
                widths.pop();
            } else {
                break;
            }
        }
        widths.len()
    }
}

/// `text` in at most `width` columns, its end replaced by `…` if it is wider.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let mut short = String::new();
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used >= width {
            break;
        }
        short.push(character);
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(table: &Table, width: Option<usize>) -> Vec<String> {
        let lines = table.layout(width).lines;
        lines.into_iter().map(|line| line.into_iter().map(|(text, _)| text).collect()).collect()
    }

    fn processes() -> Table {
        let mut table =
            Table::new([Column::right("PID"), Column::left("NAME"), Column::left("COMMAND").flexible()]);
        table.row(["1".into(), "init".into(), "/sbin/init".into()]);
        table.row(["4321".into(), "漢字".into(), "/usr/bin/something --with many arguments".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        assert_eq!(
            text(&processes(), None),
            [
                " PID  NAME  COMMAND",
                "   1  init  /sbin/init",
                "4321  漢字  /usr/bin/something --with many arguments"
            ]
        );
    }

    #[test]
    fn the_flexible_column_gives_way_to_the_terminal() {
        assert_eq!(
            text(&processes(), Some(24)),
            [" PID  NAME  COMMAND", "   1  init  /sbin/init", "4321  漢字  /usr/bin/so…"]
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_named() {
        let layout = processes().layout(Some(12));
        assert_eq!(layout.left_out, ["COMMAND"]);
        assert_eq!(text(&processes(), Some(12)), [" PID  NAME", "   1  init", "4321  漢字"]);
    }

    #[test]
    fn a_cell_cannot_move_the_cursor() {
        let mut table = Table::fields();
        table.field("name", "a\x1b[2J\nb");
        assert_eq!(text(&table, None), ["name  a\\u{1b}[2J\\nb"]);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            cells in proptest::collection::vec(proptest::collection::vec("\\PC{0,30}", 0..5), 0..6),
            width in 20usize..120,
        ) {
            let mut table = Table::new([
                Column::left("A").flexible(), Column::right("B").flexible(), Column::left("C").flexible(),
            ]);
            for row in cells {
                table.row(row.into_iter().map(Cell::new));
            }
            for line in text(&table, Some(width)) {
                prop_assert!(line.width() <= width, "{line:?}");
            }
        }
    }
}
