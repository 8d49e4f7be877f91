//! What fields of a Parquet file's footer and page headers are, by `parquet.thrift` of Parquet format 2.12.

use crate::thrift::Shape::{self, Binary, Boolean, Byte, Double, Integer, List, Structure};

type Fields = [(i16, Shape)];

/// `FileMetaData`
pub(crate) static FILE_METADATA: &Fields = &[
    (1, Integer),
    (2, List(&Structure(SCHEMA_ELEMENT))),
    (3, Integer),
    (4, List(&Structure(ROW_GROUP))),
    (5, List(&Structure(KEY_VALUE))),
    (6, Binary),
    (7, List(&Structure(COLUMN_ORDER))),
    (8, Structure(&[])),
    (9, Binary),
];

/// `PageHeader`
pub(crate) static PAGE_HEADER: &Fields = &[
    (1, Integer),
    (UNPACKED, Integer),
    (PACKED, Integer),
    (4, Integer),
    (5, Structure(DATA_PAGE_HEADER)),
    (6, Structure(&[])),
    (7, Structure(&[(1, Integer), (2, Integer), (3, Boolean)])),
    (8, Structure(DATA_PAGE_HEADER_V2)),
];

/// `PageHeader.uncompressed_page_size`
pub(crate) const UNPACKED: i16 = 2;
/// `PageHeader.compressed_page_size`
pub(crate) const PACKED: i16 = 3;

static DATA_PAGE_HEADER: &Fields =
    &[(1, Integer), (2, Integer), (3, Integer), (4, Integer), (5, Structure(STATISTICS))];

static DATA_PAGE_HEADER_V2: &Fields = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Boolean),
    (8, Structure(STATISTICS)),
];

static STATISTICS: &Fields = &[
    (1, Binary),
    (2, Binary),
    (3, Integer),
    (4, Integer),
    (5, Binary),
    (6, Binary),
    (7, Boolean),
    (8, Boolean),
];

static SCHEMA_ELEMENT: &Fields = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Binary),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, Integer),
    (9, Integer),
    (10, Structure(LOGICAL_TYPE)),
];

static LOGICAL_TYPE: &Fields = &[
    (1, Structure(&[])),
    (2, Structure(&[])),
    (3, Structure(&[])),
    (4, Structure(&[])),
    (5, Structure(&[(1, Integer), (2, Integer)])),
    (6, Structure(&[])),
    (7, Structure(TIME)),
    (8, Structure(TIME)),
    (10, Structure(&[(1, Byte), (2, Boolean)])),
    (11, Structure(&[])),
    (12, Structure(&[])),
    (13, Structure(&[])),
    (14, Structure(&[])),
    (15, Structure(&[])),
    (16, Structure(&[(1, Byte)])),
    (17, Structure(&[(1, Binary)])),
    (18, Structure(&[(1, Binary), (2, Integer)])),
];

static TIME: &Fields = &[(1, Boolean), (2, Structure(TIME_UNIT))];
static TIME_UNIT: &Fields = &[(1, Structure(&[])), (2, Structure(&[])), (3, Structure(&[]))];
static COLUMN_ORDER: &Fields = &[(1, Structure(&[])), (2, Structure(&[]))];
static KEY_VALUE: &Fields = &[(1, Binary), (2, Binary)];

static ROW_GROUP: &Fields = &[
    (1, List(&Structure(COLUMN_CHUNK))),
    (2, Integer),
    (3, Integer),
    (4, List(&Structure(&[(1, Integer), (2, Boolean), (3, Boolean)]))),
    (5, Integer),
    (6, Integer),
    (7, Integer),
];

static COLUMN_CHUNK: &Fields = &[
    (1, Binary),
    (2, Integer),
    (3, Structure(COLUMN_METADATA)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, Structure(&[])),
    (9, Binary),
];

static COLUMN_METADATA: &Fields = &[
    (1, Integer),
    (2, List(&Integer)),
    (3, List(&Binary)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, List(&Structure(KEY_VALUE))),
    (9, Integer),
    (10, Integer),
    (11, Integer),
    (12, Structure(STATISTICS)),
    (13, List(&Structure(&[(1, Integer), (2, Integer), (3, Integer)]))),
    (14, Integer),
    (15, Integer),
    (16, Structure(&[(1, Integer), (2, List(&Integer)), (3, List(&Integer))])),
    (17, Structure(&[(1, Structure(BOUNDING_BOX)), (2, List(&Integer))])),
];

static BOUNDING_BOX: &Fields = &[
    (1, Double),
    (2, Double),
    (3, Double),
    (4, Double),
    (5, Double),
    (6, Double),
    (7, Double),
    (8, Double),
];
