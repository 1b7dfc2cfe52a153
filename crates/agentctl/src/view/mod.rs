//! Showing an answer of any shape to a person.
//!
//! Members are shown in the order agentd wrote them: single values as aligned names and values, lists of objects as
//! tables. Units come from the names (`_bytes`, `_seconds`, `_percent`), as the API promises; for known lists
//! [`columns`] says which columns a person wants to see.

pub(crate) mod change;
mod columns;
pub(crate) mod question;
mod value;

use crate::error::CliError;
use crate::output::{Cell, Column, Output, Style, Table};
use crate::tree::Tree;

pub(crate) use value::happening;
use value::label;

/// Shows `answer`, the answer to the query `query`, with `chosen` columns for its lists if any are named.
pub(crate) fn show(
    output: &mut Output,
    query: &str,
    answer: &Tree,
    chosen: &[String],
) -> Result<(), CliError> {
    let Tree::Object(members) = answer else {
        let cell = value::cell(&output.clock, "", answer);
        return output.line(&[cell]);
    };
    let mut shown = Shown { query, chosen, fields: Table::fields(), begun: false };
    let lists = members.iter().filter(|(_, member)| member.rows().is_some()).count();
    for (name, member) in members {
        shown.member(output, name, member, lists > 1)?;
    }
    shown.end_fields(output)?;
    // A list that was asked for and is empty is an answer too.
    if let Some((name, _)) =
        members.iter().find(|(_, member)| matches!(member, Tree::Array(items) if items.is_empty()))
        && lists == 0
        && columns::known(query, name).is_some()
    {
        output.note(&format!("No {}.", label(name)));
    }
    Ok(())
}

/// What is shown so far: single values are collected until a list or a text interrupts them.
struct Shown<'a> {
    query: &'a str,
    chosen: &'a [String],
    fields: Table,
    begun: bool,
}

impl Shown<'_> {
    fn member(
        &mut self,
        output: &mut Output,
        name: &str,
        member: &Tree,
        headings: bool,
    ) -> Result<(), CliError> {
        if let Some(rows) = member.rows() {
            self.end_fields(output)?;
            if headings {
                let heading = format!("{} ({})", label(name), rows.len());
                self.heading(output, &heading)?;
            } else {
                self.gap(output)?;
            }
            return self.rows(output, name, rows);
        }
        match member {
            Tree::String(text) if text.contains('\n') => {
                self.end_fields(output)?;
                self.heading(output, &label(name))?;
                output.block(text, 0)
            }
            Tree::Object(members) => {
                for (inner, member) in members {
                    self.member(output, &format!("{name}.{inner}"), member, true)?;
                }
                Ok(())
            }
            member if value::goes_without_saying(name, member) => Ok(()),
            member => {
                let cell = value::cell(&output.clock, name, member);
                self.fields.field(&label(name), cell);
                Ok(())
            }
        }
    }

    fn rows(&self, output: &mut Output, name: &str, rows: &[Tree]) -> Result<(), CliError> {
        let known = columns::known(self.query, name).filter(|_| self.chosen.is_empty());
        let paths: Vec<String> = match known {
            Some(known) => known.iter().map(|&path| path.to_owned()).collect(),
            None if self.chosen.is_empty() => columns::found(rows),
            None => self.chosen.to_vec(),
        };
        // A column in which no row has anything says nothing; one that was asked for by name stays.
        let says = |path: &str, row: &Tree| {
            row.get(path).is_some_and(|cell| !value::goes_without_saying(path, cell))
        };
        let asked_for = !self.chosen.is_empty();
        let paths: Vec<String> =
            paths.into_iter().filter(|path| asked_for || rows.iter().any(|row| says(path, row))).collect();
        let mut table = Table::new(paths.iter().map(|path| {
            // Of a known column the last part of its name is enough.
            let name = path.rsplit('.').next().filter(|_| known.is_some()).unwrap_or(path);
            let head = label(name).to_uppercase();
            if value::is_number(rows.iter().filter_map(|row| row.get(path))) {
                Column::right(head)
            } else {
                Column::left(head).flexible()
            }
        }));
        for row in rows {
            table.row(paths.iter().map(|path| {
                row.get(path).map_or_else(Cell::default, |cell| value::brief(&output.clock, path, cell))
            }));
        }
        output.table(&table)
    }

    fn end_fields(&mut self, output: &mut Output) -> Result<(), CliError> {
        if self.fields.is_empty() {
            return Ok(());
        }
        let fields = std::mem::replace(&mut self.fields, Table::fields());
        self.gap(output)?;
        output.table(&fields)
    }

    fn gap(&mut self, output: &mut Output) -> Result<(), CliError> {
        if std::mem::replace(&mut self.begun, true) { output.text("") } else { Ok(()) }
    }

    fn heading(&mut self, output: &mut Output, heading: &str) -> Result<(), CliError> {
        self.gap(output)?;
        output.line(&[Cell::styled(heading, Style::Heading)])
    }
}
