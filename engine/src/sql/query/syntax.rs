//! Flink's meanings that DataFusion has other words for, lowered to them.
//!
//! The statement layer has respelt what would not parse (`sql::spellings`); here calls change that
//! would mean something else: `LOG(x)` is the natural logarithm, GREATEST is NULL where an argument
//! is, `2.5E0` is a DOUBLE. Literal patterns are checked at their place.
//!
//! **Invariant.** Spans stay, so that later errors still find their place.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, OrderBy,
    OrderByKind, Query, Select, SelectItem, SetExpr, UnaryOperator, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};

use crate::error::SqlError;
use crate::functions;
use crate::sql::position::{position_of, span_position};
use crate::sql::query::rows_in;
use crate::sql::query::sized_casts::sized_cast;
use crate::sql::walk::walk_mut;

/// Lowers a query or an expression.
pub(crate) fn lower(syntax: &mut impl VisitMut) -> Result<(), SqlError> {
    match walk_mut(syntax, &mut FlinkSyntax) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Lowers every expression it visits.
struct FlinkSyntax;

impl VisitorMut for FlinkSyntax {
    type Break = SqlError;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        name_expressions(&mut select.projection);
        number_equal_names(&mut select.projection);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        order_by_names(query);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match lower_expression(expr) {
            Ok(Some(lowered)) => *expr = lowered,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

/// `SELECT price, price * 2` → the second is `EXPR$1`, as Flink names what has no name, by its place.
fn name_expressions(projection: &mut [SelectItem]) {
    for (place, item) in projection.iter_mut().enumerate() {
        if let SelectItem::UnnamedExpr(expression) = item
            && column_name(expression).is_none()
        {
            let expr = std::mem::replace(expression, Expr::value(Value::Null));
            *item = SelectItem::ExprWithAlias {
                expr,
                alias: Ident::with_quote('`', format!("EXPR${place}")),
            };
        }
    }
}

/// `SELECT DISTINCT a + 1 … ORDER BY a + 1` → `ORDER BY` the name of that item: behind DISTINCT there is no `a`.
fn order_by_names(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return;
    };
    let Some(OrderBy {
        kind: OrderByKind::Expressions(order),
        ..
    }) = &mut query.order_by
    else {
        return;
    };
    if select.distinct.is_none() {
        return;
    }
    for by in order {
        let mut items = select.projection.iter();
        let name = items.find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if *expr == by.expr => Some(alias),
            _ => None,
        });
        if let Some(name) = name {
            let mut name = name.clone();
            name.span = sqlparser::ast::Spanned::span(&by.expr);
            by.expr = Expr::Identifier(name);
        }
    }
}

/// `SELECT price, CAST(price AS STRING)` → the second is `price0`, as Flink names it: DataFusion leaves
/// casts out of names, and a sink cannot have two columns of one name.
fn number_equal_names(projection: &mut [SelectItem]) {
    let name_of = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expression) => column_name(expression).map(str::to_string),
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    };
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for item in projection.iter_mut() {
        let Some(name) = name_of(item) else { continue };
        if taken.insert(name.clone()) {
            continue;
        }
        if let SelectItem::UnnamedExpr(expression) = item {
            let free = (0..)
                .map(|number| format!("{name}{number}"))
                .find(|name| taken.insert(name.clone()));
            let alias = free.expect("invariant: numbers do not end");
            let expr = std::mem::replace(expression, Expr::value(Value::Null));
            *item = SelectItem::ExprWithAlias {
                expr,
                alias: Ident::with_quote('`', alias),
            };
        }
    }
}

/// The column that an expression names, casts aside.
fn column_name(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Identifier(ident) => Some(&ident.value),
        Expr::CompoundIdentifier(idents) => idents.last().map(|ident| ident.value.as_str()),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => column_name(expr),
        _ => None,
    }
}

fn lower_expression(expr: &mut Expr) -> Result<Option<Expr>, SqlError> {
    match expr {
        Expr::Function(function) => {
            lower_function(function)?;
            Ok(rewritten_call(function))
        }
        Expr::Value(ValueWithSpan {
            value: Value::Number(digits, _),
            ..
        }) if digits.contains(['e', 'E']) => Ok(Some(double(expr))),
        Expr::SimilarTo {
            negated,
            expr,
            pattern,
            escape_char,
        } => similar(*negated, expr, pattern, escape_char.is_some()).map(Some),
        Expr::Like {
            pattern, escape_char, ..
        }
        | Expr::ILike {
            pattern, escape_char, ..
        } => {
            escape_with_backslash(pattern, escape_char)?;
            Ok(None)
        }
        Expr::Cast { .. } => Ok(sized_cast(expr)),
        Expr::InSubquery { .. } => rows_in::lower(expr),
        _ => Ok(None),
    }
}

/// `x SIMILAR TO 'p'` → `REGEXP(x, '^(?:p)$')`: DataFusion would read `p` as a regular expression as
/// it stands, where `%` and `_` mean themselves.
fn similar(negated: bool, text: &Expr, pattern: &Expr, escapes: bool) -> Result<Expr, SqlError> {
    let (Some(literal), false) = (literal_text(pattern), escapes) else {
        return Err(SqlError::new("SIMILAR TO needs a literal pattern without ESCAPE")
            .at(position_of(pattern))
            .hint("use REGEXP(text, pattern)"));
    };
    let mut regex = String::from("^(?s:");
    for letter in literal.chars() {
        match letter {
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '.' | '^' | '$' | '\\' => regex.extend(['\\', letter]),
            other => regex.push(other),
        }
    }
    regex.push_str(")$");
    functions::check_literal("regexp", 1, &regex).map_err(|_| {
        SqlError::new(format!("'{literal}' is no pattern of SIMILAR TO")).at(position_of(pattern))
    })?;
    let matched = call(position_ident("regexp", text), vec![text.clone(), string(regex)]);
    Ok(match negated {
        true => Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(matched),
        },
        false => matched,
    })
}

/// `LIKE '50!%' ESCAPE '!'` → `LIKE '50\%'`: DataFusion's kernels know the backslash alone.
fn escape_with_backslash(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) -> Result<(), SqlError> {
    let Some(value) = escape.take() else {
        return Ok(());
    };
    let refuse =
        |message: &str| Err(SqlError::new(message).at(span_position(value.span).unwrap_or_default()));
    let Value::SingleQuotedString(text) = &value.value else {
        return refuse("ESCAPE needs one character");
    };
    let mut letters = text.chars();
    let (Some(escape_letter), None) = (letters.next(), letters.next()) else {
        return refuse("ESCAPE needs one character");
    };
    let Some(literal) = literal_text(pattern).map(str::to_string) else {
        return refuse("LIKE with ESCAPE needs a literal pattern");
    };
    let mut escaped = String::with_capacity(literal.len() + 4);
    let mut letters = literal.chars();
    while let Some(letter) = letters.next() {
        match letter {
            letter if letter == escape_letter => match letters.next() {
                Some(plain) => escaped.extend(['\\', plain]),
                None => return refuse("the pattern ends with its escape character"),
            },
            '\\' => escaped.push_str("\\\\"),
            other => escaped.push(other),
        }
    }
    *pattern = string(escaped);
    Ok(())
}

fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text),
            ..
        }) => Some(text),
        _ => None,
    }
}

/// `2.5E0` → `CAST(2.5E0 AS DOUBLE)`: without an exponent a number is a DECIMAL.
fn double(number: &Expr) -> Expr {
    cast(number.clone(), DataType::Double(ExactNumberInfo::None))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

pub(crate) fn call(name: Ident, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(unnamed).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn position_ident(name: &str, near: &Expr) -> Ident {
    let mut ident = Ident::new(name);
    ident.span = sqlparser::ast::Spanned::span(near);
    ident
}

fn lower_function(function: &mut Function) -> Result<(), SqlError> {
    let [ObjectNamePart::Identifier(ident)] = function.name.0.as_mut_slice() else {
        return Err(SqlError::new(format!("`{}` is not a function", function.name))
            .at(position_of(&function.name))
            .hint("functions have simple names"));
    };
    // Function names are compared without case; quoting does not change that.
    ident.quote_style = None;
    let name = ident.value.to_ascii_lowercase();
    let arguments = match &mut function.args {
        FunctionArguments::List(list) => Some(list),
        FunctionArguments::None | FunctionArguments::Subquery(_) => None,
    };
    let count = arguments.as_ref().map_or(0, |list| list.args.len());
    let Some(list) = arguments else {
        return Ok(());
    };
    check_literals(&name, list)?;
    match name.as_str() {
        "listagg" | "string_agg" if count == 1 => {
            list.args.push(unnamed(string(",".to_string())));
        }
        _ => {}
    }
    Ok(())
}

/// Patterns and paths that are literals are read now, so that a wrong one has its place.
fn check_literals(name: &str, list: &FunctionArgumentList) -> Result<(), SqlError> {
    for (index, argument) in list.args.iter().enumerate() {
        let Some(Expr::Value(literal)) = plain_argument(argument) else {
            continue;
        };
        if let Value::SingleQuotedString(text) = &literal.value {
            functions::check_literal(name, index, text).map_err(|message| {
                SqlError::new(message).at(span_position(literal.span).unwrap_or_default())
            })?;
        }
    }
    Ok(())
}

/// Calls that are other expressions in DataFusion's words; `None` for all others.
fn rewritten_call(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let arguments: Vec<&Expr> = list.args.iter().map(plain_argument).collect::<Option<_>>()?;
    let name = function.name.to_string().to_ascii_lowercase();
    match (name.as_str(), arguments.as_slice()) {
        ("if", [condition, then, otherwise]) => Some(case(condition, then, otherwise)),
        ("mod", [left, right]) => Some(Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new((*left).clone()))),
            op: BinaryOperator::Modulo,
            right: Box::new(Expr::Nested(Box::new((*right).clone()))),
        }))),
        ("to_base64", [text]) => Some(call(
            position_ident("encode", &Expr::Function(function.clone())),
            vec![(*text).clone(), string("base64pad".to_string())],
        )),
        ("from_base64", [text]) => {
            let name = position_ident("decode", &Expr::Function(function.clone()));
            let bytes = call(name, vec![(*text).clone(), string("base64pad".to_string())]);
            Some(cast(bytes, DataType::String(None)))
        }
        ("grouping_id", _) => {
            let mut renamed = function.clone();
            let name = position_ident("grouping", &Expr::Function(function.clone()));
            renamed.name = ObjectName::from(vec![name]);
            Some(Expr::Function(renamed))
        }
        ("e", []) => Some(double(&Expr::Value(
            Value::Number("2.718281828459045".to_string(), false).with_empty_span(),
        ))),
        // Flink's LOG of one number is the natural logarithm.
        ("log", [_]) => {
            let mut renamed = function.clone();
            renamed.name = ObjectName::from(vec![position_ident("ln", &Expr::Function(function.clone()))]);
            Some(Expr::Function(renamed))
        }
        // Flink: NULL if any argument is; DataFusion passes NULLs over.
        ("greatest" | "least", [first, rest @ ..]) if !rest.is_empty() => {
            let is_null = |argument: &Expr| Expr::IsNull(Box::new(Expr::Nested(Box::new(argument.clone()))));
            let any_null = rest.iter().fold(is_null(first), |any, argument| Expr::BinaryOp {
                left: Box::new(any),
                op: BinaryOperator::Or,
                right: Box::new(is_null(argument)),
            });
            let null = Expr::Value(Value::Null.with_empty_span());
            Some(case(&any_null, &null, &Expr::Function(function.clone())))
        }
        _ => None,
    }
}

fn plain_argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn case(condition: &Expr, then: &Expr, otherwise: &Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen {
            condition: condition.clone(),
            result: then.clone(),
        }],
        else_result: Some(Box::new(otherwise.clone())),
    }
}

pub(super) fn string(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).with_empty_span())
}

fn unnamed(argument: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))
}
