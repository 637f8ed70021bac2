//! `CREATE TABLE`: columns, watermark, key and options, read with sqlparser's public methods.
//!
//! Part of `parser`. Also reads the `WITH ('key' = 'value', …)` lists of other statements.
//!
//! **Invariant.** Names and types are checked as far as the statement alone allows: no column
//! twice, the key's and the watermark's columns exist, every type maps to Arrow.

use sqlparser::ast::Expr;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use crate::error::{Position, SqlError};
use crate::sql::refusals;
use crate::sql::spellings::respell_all;
use crate::sql::statement::{
    ColumnDefinition, ColumnKind, CreateTable, Name, TableOption, WatermarkDefinition,
};
use crate::sql::stream_parser::StreamParser;
use crate::sql::suggest;
use crate::sql::types::{arrow_type, parse_type};

impl StreamParser<'_> {
    /// The rest of `CREATE TABLE name`, from `(` on.
    pub(crate) fn create_table(&mut self, name: Name, if_not_exists: bool) -> Result<CreateTable, SqlError> {
        let mut table = CreateTable {
            name,
            if_not_exists,
            columns: Vec::new(),
            watermark: None,
            primary_key: Vec::new(),
            options: Vec::new(),
        };
        self.expect(&Token::LParen)?;
        loop {
            self.table_element(&mut table)?;
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.expect(&Token::RParen)?;
        self.refuse_table_clauses()?;
        table.options = self.with_options()?;
        if self.parser.peek_keyword(Keyword::LIKE) {
            return self.like_clause(table);
        }
        if self.parser.peek_keyword(Keyword::AS) {
            return Err(self
                .error_here("CREATE TABLE … AS takes its columns from the query")
                .hint("leave out the column list"));
        }
        check_table(&table)?;
        Ok(table)
    }

    /// A column, `WATERMARK FOR`, or a key.
    fn table_element(&mut self, table: &mut CreateTable) -> Result<(), SqlError> {
        let position = self.here();
        if self.at_words(&["WATERMARK", "FOR"]) {
            self.parser.next_token();
            self.parser.next_token();
            let watermark = self.watermark()?;
            if table.watermark.replace(watermark).is_some() {
                return Err(SqlError::new("the table has two watermarks").at(position));
            }
            return Ok(());
        }
        if self.parser.parse_keyword(Keyword::CONSTRAINT) {
            self.name()?;
        }
        if self.parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
            let columns = self.name_list()?;
            return self.set_key(table, columns, position);
        }
        if self.at_words(&["UNIQUE"])
            || self.at_words(&["FOREIGN", "KEY"])
            || self.at_words(&["PERIOD", "FOR"])
        {
            return Err(self
                .error_here("this constraint is not supported")
                .hint("a table may have PRIMARY KEY (…) NOT ENFORCED"));
        }
        self.column(table)
    }

    fn watermark(&mut self) -> Result<WatermarkDefinition, SqlError> {
        let column = self.name()?;
        if self.parser.peek_token_ref().token == Token::Period {
            return Err(self
                .error_here("a watermark on a field inside a ROW is not supported")
                .hint("declare a computed column for it: ts AS r.ts"));
        }
        self.expect_keyword(Keyword::AS)?;
        let expression = Box::new(self.expression()?);
        Ok(WatermarkDefinition { column, expression })
    }

    fn set_key(&mut self, table: &mut CreateTable, columns: Vec<Name>, at: Position) -> Result<(), SqlError> {
        if self.at_words(&["ENFORCED"]) || !self.parser.parse_keywords(&[Keyword::NOT, Keyword::ENFORCED]) {
            return Err(SqlError::new("a primary key is declared, not enforced")
                .at(at)
                .hint("write PRIMARY KEY (…) NOT ENFORCED"));
        }
        if !table.primary_key.is_empty() {
            return Err(SqlError::new("the table has two primary keys").at(at));
        }
        table.primary_key = columns;
        Ok(())
    }

    fn column(&mut self, table: &mut CreateTable) -> Result<(), SqlError> {
        let name = self.name()?;
        let kind = if self.parser.parse_keyword(Keyword::AS) {
            self.computed_column()?
        } else {
            self.typed_column(&name)?
        };
        let mut column = ColumnDefinition {
            name,
            kind,
            comment: None,
        };
        self.column_constraints(table, &mut column)?;
        table.columns.push(column);
        Ok(())
    }

    /// `expression`, or `PROCTIME()`, which no query can read but many tables declare.
    fn computed_column(&mut self) -> Result<ColumnKind, SqlError> {
        if self.at_words(&["PROCTIME"])
            && self.parser.peek_nth_token_ref(1).token == Token::LParen
            && self.parser.peek_nth_token_ref(2).token == Token::RParen
            && matches!(
                self.parser.peek_nth_token_ref(3).token,
                Token::Comma | Token::RParen
            )
        {
            let call = self.parser.parse_expr().map_err(|error| self.convert(error))?;
            return Ok(ColumnKind::Computed(Box::new(call)));
        }
        Ok(ColumnKind::Computed(Box::new(self.expression()?)))
    }

    /// `TYPE [METADATA [FROM 'key'] [VIRTUAL]]`.
    fn typed_column(&mut self, name: &Name) -> Result<ColumnKind, SqlError> {
        let position = self.here();
        if matches!(
            self.parser.peek_token_ref().token,
            Token::Comma | Token::RParen | Token::EOF
        ) {
            return Err(SqlError::new(format!("the column `{}` has no type", name.value)).at(name.position));
        }
        let sql_type = parse_type(&mut self.parser).map_err(|error| self.convert(error))?;
        let data_type = arrow_type(&sql_type).map_err(|error| error.at(position))?;
        if !self.take_word("METADATA") {
            return Ok(ColumnKind::Physical {
                data_type,
                nullable: true,
            });
        }
        let key = if self.parser.parse_keyword(Keyword::FROM) {
            self.string()?.0
        } else {
            name.value.clone()
        };
        let is_virtual = self.take_word("VIRTUAL");
        Ok(ColumnKind::Metadata {
            data_type,
            key,
            is_virtual,
        })
    }

    fn column_constraints(
        &mut self,
        table: &mut CreateTable,
        column: &mut ColumnDefinition,
    ) -> Result<(), SqlError> {
        loop {
            let position = self.here();
            if self.parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
                match &mut column.kind {
                    ColumnKind::Physical { nullable, .. } => *nullable = false,
                    _ => return Err(SqlError::new("NOT NULL belongs to physical columns").at(position)),
                }
            } else if self.parser.parse_keyword(Keyword::NULL) {
            } else if self.parser.parse_keyword(Keyword::COMMENT) {
                column.comment = Some(self.string()?.0);
            } else if self.parser.parse_keyword(Keyword::CONSTRAINT) {
                self.name()?;
            } else if self.parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
                self.set_key(table, vec![column.name.clone()], position)?;
            } else {
                return Ok(());
            }
        }
    }

    /// Clauses between the columns and `WITH`: COMMENT is read, the others refused.
    fn refuse_table_clauses(&mut self) -> Result<(), SqlError> {
        if self.parser.parse_keyword(Keyword::COMMENT) {
            self.string()?;
        }
        for words in [
            ["PARTITIONED", "BY"],
            ["DISTRIBUTED", "BY"],
            ["DISTRIBUTED", "INTO"],
        ] {
            if self.at_words(&words) {
                return Err(self
                    .error_here(&format!("{} {} is not supported yet", words[0], words[1]))
                    .hint("rows are distributed over shards by each query's keys"));
            }
        }
        Ok(())
    }

    /// `WITH ('key' = 'value', …)`, or nothing.
    pub(crate) fn with_options(&mut self) -> Result<Vec<TableOption>, SqlError> {
        let mut options: Vec<TableOption> = Vec::new();
        if !self.parser.parse_keyword(Keyword::WITH) {
            return Ok(options);
        }
        self.expect(&Token::LParen)?;
        loop {
            if options.is_empty() && self.parser.consume_token(&Token::RParen) {
                return Ok(options);
            }
            let (key, key_position) = self.option_text()?;
            self.expect(&Token::Eq)?;
            let (value, value_position) = self.option_text()?;
            if options.iter().any(|option| option.key == key) {
                return Err(SqlError::new(format!("the option '{key}' is given twice")).at(key_position));
            }
            options.push(TableOption {
                key,
                key_position,
                value,
                value_position,
            });
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.expect(&Token::RParen)?;
        Ok(options)
    }

    fn option_text(&mut self) -> Result<(String, Position), SqlError> {
        let wrong = self
            .error_here("keys and values of options are quoted texts")
            .hint("write WITH ('connector' = 'filesystem', …)");
        self.string().map_err(|_| wrong)
    }

    /// A free-standing expression, checked for what nobody would read.
    fn expression(&mut self) -> Result<Expr, SqlError> {
        let position = self.here();
        let mut expression = self.parser.parse_expr().map_err(|error| self.convert(error))?;
        refusals::check_depth(&expression).map_err(|error| error.at(position))?;
        respell_all(&mut expression)?;
        refusals::check_free_expression(&expression, &self.tokens).map_err(|error| error.at(position))?;
        Ok(expression)
    }
}

/// What the statement alone can say about its columns.
pub(crate) fn check_table(table: &CreateTable) -> Result<(), SqlError> {
    for (index, column) in table.columns.iter().enumerate() {
        let is_double = table.columns[..index]
            .iter()
            .any(|earlier| earlier.name.value == column.name.value);
        if is_double {
            return Err(SqlError::new(format!(
                "the table `{}` has two columns `{}`",
                table.name.value, column.name.value
            ))
            .at(column.name.position));
        }
    }
    let names: Vec<&str> = table
        .columns
        .iter()
        .map(|column| column.name.value.as_str())
        .collect();
    let referred = table
        .primary_key
        .iter()
        .chain(table.watermark.iter().map(|watermark| &watermark.column));
    for name in referred {
        if !names.contains(&name.value.as_str()) {
            return Err(SqlError::new(format!(
                "the table `{}` has no column `{}`",
                table.name.value, name.value
            ))
            .at(name.position)
            .hint(suggest::hint(&name.value, &names, "its columns are")));
        }
    }
    if let Some(watermark) = &table.watermark {
        let column = table
            .columns
            .iter()
            .find(|column| column.name.value == watermark.column.value);
        if column.is_some_and(|column| column.kind.is_processing_time()) {
            return Err(SqlError::new("a watermark cannot follow the processing time")
                .at(watermark.column.position)
                .hint("name an event-time column"));
        }
    }
    if !table.columns.iter().any(|column| {
        matches!(
            column.kind,
            ColumnKind::Physical { .. } | ColumnKind::Metadata { .. }
        )
    }) {
        return Err(SqlError::new(format!(
            "the table `{}` has no column that is read",
            table.name.value
        ))
        .at(table.name.position));
    }
    Ok(())
}
