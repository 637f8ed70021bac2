//! Flink's spellings that DataFusion's planner has no word for, lowered to plain calls.
//!
//! `FLOOR(ts TO HOUR)`, `TIMESTAMPDIFF(DAY, a, b)` and the like carry a unit that is neither column
//! nor string; it becomes a string literal.
//!
//! **Invariant.** Spans stay, so that later errors still find their place.

use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CeilFloorKind, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Value, VisitMut, VisitorMut,
};

use crate::error::SqlError;
use crate::sql::position::position_of;

/// Lowers a query or an expression.
pub(crate) fn lower(syntax: &mut impl VisitMut) -> Result<(), SqlError> {
    match syntax.visit(&mut FlinkSyntax) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Lowers every expression it visits.
struct FlinkSyntax;

impl VisitorMut for FlinkSyntax {
    type Break = SqlError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match lower_expression(expr) {
            Ok(Some(lowered)) => *expr = lowered,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

fn lower_expression(expr: &mut Expr) -> Result<Option<Expr>, SqlError> {
    match expr {
        Expr::Floor { expr, field } => Ok(time_rounding("floor_time", expr, field)),
        Expr::Ceil { expr, field } => Ok(time_rounding("ceil_time", expr, field)),
        Expr::Function(function) => {
            lower_function(function)?;
            Ok(rewritten_call(function))
        }
        _ => Ok(None),
    }
}

/// `FLOOR(ts TO HOUR)` → `floor_time('HOUR', ts)`.
fn time_rounding(name: &str, expr: &Expr, field: &CeilFloorKind) -> Option<Expr> {
    let unit = match field {
        CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) | CeilFloorKind::Scale(_) => return None,
        CeilFloorKind::DateTimeField(unit) => unit.to_string(),
    };
    Some(call(
        name,
        position_ident(name, expr),
        vec![string(unit), expr.clone()],
    ))
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
    match name.as_str() {
        "timestampdiff" | "timestampadd" if count == 3 => unit_to_string(list),
        "listagg" | "string_agg" if count == 1 => {
            list.args.push(unnamed(string(",".to_string())));
        }
        _ => {}
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

/// The unit of `TIMESTAMPDIFF(DAY, …)`, read as a column's name, becomes a string.
fn unit_to_string(list: &mut FunctionArgumentList) {
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(unit))) = list.args.first_mut()
        && let Expr::Identifier(ident) = unit
    {
        *unit = string(ident.value.to_ascii_uppercase());
    }
}

fn string(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).with_empty_span())
}

fn unnamed(argument: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))
}

fn call(name: &str, ident: Ident, arguments: Vec<Expr>) -> Expr {
    assert_eq!(name, ident.value, "invariant: the identifier is the name");
    Expr::Function(Function {
        name: ObjectName::from(vec![ident]),
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
