//! Arrow types under their SQL names, for messages.

use arrow::datatypes::{DataType, TimeUnit};

/// The SQL name of a type.
pub(crate) fn sql_type_name(data_type: &DataType) -> String {
    let fixed = match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 => "STRING",
        DataType::Binary => "BYTES",
        DataType::Date32 => "DATE",
        DataType::Time32(unit) | DataType::Time64(unit) => {
            return format!("TIME({})", digits(*unit));
        }
        DataType::Timestamp(unit, None) => return format!("TIMESTAMP({})", digits(*unit)),
        DataType::Timestamp(unit, Some(_)) => return format!("TIMESTAMP_LTZ({})", digits(*unit)),
        DataType::Decimal128(precision, scale) => return format!("DECIMAL({precision}, {scale})"),
        DataType::List(element) => return format!("ARRAY<{}>", sql_type_name(element.data_type())),
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return "MAP".to_string();
            };
            let names: Vec<_> = fields
                .iter()
                .map(|field| sql_type_name(field.data_type()))
                .collect();
            return format!("MAP<{}>", names.join(", "));
        }
        DataType::Struct(fields) => {
            let column = |field: &arrow::datatypes::FieldRef| {
                format!("{} {}", field.name(), sql_type_name(field.data_type()))
            };
            return format!(
                "ROW<{}>",
                fields.iter().map(column).collect::<Vec<_>>().join(", ")
            );
        }
        other => return other.to_string(),
    };
    fixed.to_string()
}

fn digits(unit: TimeUnit) -> u32 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}
