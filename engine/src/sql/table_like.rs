//! `CREATE TABLE … LIKE other (…)`: the other table's parts, merged with the statement's own.
//!
//! Works on statements, not on a catalog: the other table must be declared earlier in the file.
//!
//! **Invariant.** The result is a table as if it had been written out; nothing refers to the other.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use crate::error::SqlError;
use crate::sql::create_table::check_table;
use crate::sql::statement::{ColumnKind, CreateTable, Name, StatementKind, TableOption};
use crate::sql::stream_parser::StreamParser;
use crate::sql::suggest;

/// What can be taken over, in Flink's words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feature {
    Constraints,
    Generated,
    Metadata,
    Options,
    Watermarks,
    /// Partitions and distribution, which no table here has.
    Layout,
}

/// What happens to a feature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Merge {
    /// Taken over; a part that both tables have is an error.
    Include,
    /// Left out.
    Exclude,
    /// Taken over; the statement's own part wins.
    Overwrite,
}

/// What `LIKE other (…)` says.
struct Merging {
    all: Option<Merge>,
    said: Vec<(Feature, Merge)>,
}

impl Merging {
    fn of(&self, feature: Feature) -> Merge {
        let said = self.said.iter().find(|(known, _)| *known == feature);
        match (said, self.all) {
            (Some((_, merge)), _) => *merge,
            (None, Some(Merge::Exclude)) => Merge::Exclude,
            (None, _) if feature == Feature::Options => Merge::Overwrite,
            (None, _) => Merge::Include,
        }
    }
}

impl StreamParser<'_> {
    /// `LIKE other [(…)]`: `own` completed by the other table.
    pub(crate) fn like_clause(&mut self, own: CreateTable) -> Result<CreateTable, SqlError> {
        self.expect_keyword(Keyword::LIKE)?;
        let name = self.name()?;
        let mut tables = self.earlier.iter().filter_map(|statement| match &statement.kind {
            StatementKind::CreateTable(table) => Some(table),
            _ => None,
        });
        let Some(base) = tables
            .clone()
            .find(|table| table.name.value == name.value)
            .cloned()
        else {
            let known: Vec<String> = tables.by_ref().map(|table| table.name.value.clone()).collect();
            return Err(
                SqlError::new(format!("no earlier table is called `{}`", name.value))
                    .at(name.position)
                    .hint(suggest::hint(&name.value, known, "tables so far:")),
            );
        };
        let merging = self.merging()?;
        let table = merge(base, own, &name, &merging)?;
        check_table(&table)?;
        Ok(table)
    }

    fn merging(&mut self) -> Result<Merging, SqlError> {
        let mut merging = Merging {
            all: None,
            said: Vec::new(),
        };
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(merging);
        }
        while !self.parser.consume_token(&Token::RParen) {
            let position = self.here();
            let merge = if self.take_word("INCLUDING") {
                Merge::Include
            } else if self.take_word("EXCLUDING") {
                Merge::Exclude
            } else if self.take_word("OVERWRITING") {
                Merge::Overwrite
            } else {
                return Err(self.expected("INCLUDING, EXCLUDING or OVERWRITING"));
            };
            if merge != Merge::Overwrite && self.take_word("ALL") {
                merging.all = Some(merge);
                continue;
            }
            let feature = self.feature()?;
            let can_overwrite = !matches!(feature, Feature::Constraints | Feature::Layout);
            if merge == Merge::Overwrite && !can_overwrite {
                return Err(
                    SqlError::new("this part can be included or excluded, not overwritten").at(position),
                );
            }
            merging.said.push((feature, merge));
        }
        Ok(merging)
    }

    fn feature(&mut self) -> Result<Feature, SqlError> {
        for (word, feature) in [
            ("CONSTRAINTS", Feature::Constraints),
            ("GENERATED", Feature::Generated),
            ("METADATA", Feature::Metadata),
            ("OPTIONS", Feature::Options),
            ("PARTITIONS", Feature::Layout),
            ("DISTRIBUTION", Feature::Layout),
            ("WATERMARKS", Feature::Watermarks),
        ] {
            if self.take_word(word) {
                return Ok(feature);
            }
        }
        Err(self.expected(
            "ALL, CONSTRAINTS, GENERATED, METADATA, OPTIONS, PARTITIONS, DISTRIBUTION or WATERMARKS",
        ))
    }
}

fn merge(
    base: CreateTable,
    own: CreateTable,
    base_name: &Name,
    merging: &Merging,
) -> Result<CreateTable, SqlError> {
    let CreateTable {
        columns,
        watermark,
        primary_key,
        options,
        ..
    } = base;
    let mut table = own;
    let mut own_columns = std::mem::take(&mut table.columns);
    for column in columns {
        let feature = match column.kind {
            ColumnKind::Physical { .. } => None,
            ColumnKind::Computed(_) => Some(Feature::Generated),
            ColumnKind::Metadata { .. } => Some(Feature::Metadata),
        };
        let merge = feature.map_or(Merge::Include, |feature| merging.of(feature));
        let own_place = own_columns
            .iter()
            .position(|own| own.name.value == column.name.value);
        match (merge, own_place) {
            (Merge::Exclude, _) => {}
            (Merge::Overwrite, Some(index)) => table.columns.push(own_columns.remove(index)),
            _ => table.columns.push(column),
        }
    }
    table.columns.append(&mut own_columns);
    table.watermark = match (merging.of(Feature::Watermarks), watermark, table.watermark) {
        (Merge::Exclude, _, own) | (Merge::Overwrite, _, own @ Some(_)) | (_, None, own) => own,
        (_, base, None) => base,
        (Merge::Include, Some(_), Some(own)) => {
            return Err(SqlError::new("both tables declare a watermark")
                .at(own.column.position)
                .hint(format!(
                    "write LIKE {} (OVERWRITING WATERMARKS) or EXCLUDING WATERMARKS",
                    base_name.value
                )));
        }
    };
    if merging.of(Feature::Constraints) != Merge::Exclude && !primary_key.is_empty() {
        if let Some(own) = table.primary_key.first() {
            return Err(SqlError::new("both tables declare a primary key")
                .at(own.position)
                .hint(format!("write LIKE {} (EXCLUDING CONSTRAINTS)", base_name.value)));
        }
        table.primary_key = primary_key;
    }
    merge_options(&mut table, options, merging.of(Feature::Options))?;
    Ok(table)
}

fn merge_options(table: &mut CreateTable, base: Vec<TableOption>, merge: Merge) -> Result<(), SqlError> {
    if merge == Merge::Exclude {
        return Ok(());
    }
    let mut options = base;
    for option in std::mem::take(&mut table.options) {
        match options.iter_mut().find(|known| known.key == option.key) {
            Some(_) if merge == Merge::Include => {
                return Err(
                    SqlError::new(format!("both tables give the option '{}'", option.key))
                        .at(option.key_position)
                        .hint("write OVERWRITING OPTIONS"),
                );
            }
            Some(known) => *known = option,
            None => options.push(option),
        }
    }
    table.options = options;
    Ok(())
}
