//! Pickles as trees of values. Nothing is imported, called or made: a class or a function is its name, what would be made
//! by it is a record of the name and the arguments, and every name is one of [`GLOBALS`] or refuses the file.
//!
//! A pickle is a program for a stack (Python's `pickletools` describes every instruction). Here each instruction that
//! protocols 2 to 5 write for data has its arm in [`Machine::step`]; text instructions of protocols 0 and 1, persistent
//! ids, extension codes and buffers outside of the file have none. Values live in one list and name each other by
//! place, so that neither depth nor cycles cost anything.

use std::borrow::Cow;
use std::collections::HashMap;

use super::error::CellTypistError;

/// Place of a value.
pub(super) type Id = u32;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits; which one does not matter here.
    LongInt,
    Float(f64),
    Text(&'a str),
    Bytes(Cow<'a, [u8]>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// What `made_by` would make of the arguments.
    Object {
        made_by: Global,
        arguments: Id,
        state: Option<Id>,
    },
}

/// A class or a function that a model may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    LogisticRegression,
    SgdClassifier,
    StandardScaler,
    /// The loss that an [`Global::SgdClassifier`] keeps.
    Loss,
    Array,
    Dtype,
    /// Makes an array that its state fills.
    Reconstruct,
    /// Makes an array of bytes.
    FromBuffer,
    Scalar,
    /// Bytes from text, in pickles of protocol 2.
    Encode,
}

/// Every name that is read, by whichever module the versions of scikit-learn and NumPy have had it in.
const GLOBALS: [(&[&str], &str, Global); 14] = [
    (
        &["sklearn.linear_model._logistic", "sklearn.linear_model.logistic"],
        "LogisticRegression",
        Global::LogisticRegression,
    ),
    (
        &["sklearn.linear_model._stochastic_gradient", "sklearn.linear_model.stochastic_gradient"],
        "SGDClassifier",
        Global::SgdClassifier,
    ),
    (
        &["sklearn.preprocessing._data", "sklearn.preprocessing.data"],
        "StandardScaler",
        Global::StandardScaler,
    ),
    (&["_loss", "sklearn._loss._loss"], "CyHalfBinomialLoss", Global::Loss),
    (&SGD_FAST, "Log", Global::Loss),
    (&SGD_FAST, "Hinge", Global::Loss),
    (&SGD_FAST, "ModifiedHuber", Global::Loss),
    (&["numpy"], "ndarray", Global::Array),
    (&["numpy"], "dtype", Global::Dtype),
    (&MULTIARRAY, "_reconstruct", Global::Reconstruct),
    (&MULTIARRAY, "scalar", Global::Scalar),
    (&["numpy.core.numeric", "numpy._core.numeric"], "_frombuffer", Global::FromBuffer),
    (&["numpy.core.multiarray", "numpy._core.multiarray"], "_frombuffer", Global::FromBuffer),
    (&["_codecs"], "encode", Global::Encode),
];
const SGD_FAST: [&str; 2] = ["sklearn.linear_model._sgd_fast", "sklearn.linear_model.sgd_fast"];
const MULTIARRAY: [&str; 2] = ["numpy.core.multiarray", "numpy._core.multiarray"];

/// Instructions that are followed: a model has a few for every gene.
const MOST_STEPS: usize = 1 << 22;
/// How deep values lie in each other: a model has six.
const MOST_DEPTH: usize = 32;

/// The values of a pickle.
pub(super) struct Tree<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Tree<'a> {
    /// Follows the pickle at the beginning of `bytes` to its end.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, CellTypistError> {
        let mut machine = Machine {
            bytes,
            at: 0,
            values: Vec::new(),
            depths: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        let [0x80, 2..=5] = machine.array()? else {
            machine.at = 0;
            return Err(machine.error("it does not begin as protocols 2 to 5 do"));
        };
        for _ in 0..MOST_STEPS {
            if let Some(root) = machine.step()? {
                return Ok(Self { values: machine.values, root });
            }
        }
        Err(machine.limit("instructions", MOST_STEPS))
    }

    pub(super) fn root(&self) -> &Value<'a> {
        self.get(self.root)
    }

    /// Ids are made by [`Tree::read`] alone, of values that are there.
    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        self.values.get(id as usize).unwrap_or(&Value::None)
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    /// Of every value, 0 for what holds no other.
    depths: Vec<u8>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// Follows one instruction; the root after the last one.
    fn step(&mut self) -> Result<Option<Id>, CellTypistError> {
        let [code] = self.array()?;
        match code {
            b'.' => return self.pop().map(Some),
            // A frame is read as what it holds.
            0x95 => drop(self.array::<8>()?),
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'K' => {
                let value = u8::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            0x8a => {
                let len = self.len1()?;
                self.long(len)?;
            }
            0x8b => {
                let len = self.len4()?;
                self.long(len)?;
            }
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(value))?;
            }
            0x8c => {
                let len = self.len1()?;
                self.text(len)?;
            }
            b'X' => {
                let len = self.len4()?;
                self.text(len)?;
            }
            0x8d => {
                let len = self.len8()?;
                self.text(len)?;
            }
            b'C' => {
                let len = self.len1()?;
                self.byte_string(len)?;
            }
            b'B' => {
                let len = self.len4()?;
                self.byte_string(len)?;
            }
            // The second is of bytes that may be changed.
            0x8e | 0x96 => {
                let len = self.len8()?;
                self.byte_string(len)?;
            }
            b'(' => {
                if self.marks.len() == MOST_DEPTH {
                    return Err(self.limit("values in each other", MOST_DEPTH));
                }
                self.marks.push(self.stack.len());
            }
            b')' => self.tuple(Vec::new())?,
            0x85 => self.tuple_of(1)?,
            0x86 => self.tuple_of(2)?,
            0x87 => self.tuple_of(3)?,
            b't' => {
                let items = self.pop_mark()?;
                self.tuple(items)?;
            }
            b']' => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }
            b'0' => drop(self.pop()?),
            b'q' => {
                let place = u8::from_le_bytes(self.array()?);
                self.remember(place.into())?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.array()?);
                self.remember(place)?;
            }
            // As many as instructions, far below 2³².
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let place = u8::from_le_bytes(self.array()?);
                self.recall(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.array()?);
                self.recall(place)?;
            }
            b'c' => {
                let at = self.at - 1;
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name, at)?;
            }
            0x93 => {
                let at = self.at - 1;
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) =
                    (self.value(module), self.value(name))
                else {
                    return Err(self.error("a name is no text"));
                };
                let (module, name) = (*module, *name);
                self.global(module, name, at)?;
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                self.object(arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                self.build(state)?;
            }
            other => {
                return Err(
                    self.error(&format!("instruction {other:#04x} is none that a model needs"))
                );
            }
        }
        Ok(None)
    }

    fn long(&mut self, len: usize) -> Result<(), CellTypistError> {
        let bytes = self.take(len)?;
        // Two's complement, the sign in the last byte.
        let fill = bytes.last().map_or(0, |&last| if last >= 0x80 { 0xff } else { 0 });
        let mut all = [fill; 8];
        let value = match all.get_mut(..bytes.len()) {
            None => Value::LongInt,
            Some(places) => {
                places.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(all))
            }
        };
        self.push(value)
    }

    fn text(&mut self, len: usize) -> Result<(), CellTypistError> {
        let bytes = self.take(len)?;
        let text = core::str::from_utf8(bytes).map_err(|_| self.error("a text is no UTF-8"))?;
        self.push(Value::Text(text))
    }

    fn byte_string(&mut self, len: usize) -> Result<(), CellTypistError> {
        let bytes = self.take(len)?;
        self.push(Value::Bytes(Cow::Borrowed(bytes)))
    }

    fn tuple_of(&mut self, n: usize) -> Result<(), CellTypistError> {
        let start = self.stack.len().checked_sub(n).filter(|&start| start >= self.floor());
        let start = start.ok_or_else(|| self.error(EMPTY))?;
        let items = self.stack.split_off(start);
        self.tuple(items)
    }

    fn tuple(&mut self, items: Vec<Id>) -> Result<(), CellTypistError> {
        let depth = self.depth_around(&items)?;
        self.push(Value::Tuple(items))?;
        self.deepen(None, depth);
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<(), CellTypistError> {
        let list = self.top()?;
        let depth = self.depth_around(items)?;
        match self.values.get_mut(list as usize) {
            Some(Value::List(list)) => list.extend_from_slice(items),
            _ => return Err(self.error("something is appended to what is no list")),
        }
        self.deepen(Some(list), depth);
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), CellTypistError> {
        let dict = self.top()?;
        let depth = self.depth_around(items)?;
        let (pairs, rest) = items.as_chunks::<2>();
        match self.values.get_mut(dict as usize) {
            Some(Value::Dict(dict)) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
            _ => return Err(self.error("pairs are put into what is no dictionary")),
        }
        self.deepen(Some(dict), depth);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str, at: usize) -> Result<(), CellTypistError> {
        let known =
            GLOBALS.iter().find(|(modules, own, _)| *own == name && modules.contains(&module));
        match known {
            Some(&(_, _, global)) => self.push(Value::Global(global)),
            None => {
                let name: String = format!("{module}.{name}").chars().take(MOST_TOLD).collect();
                Err(CellTypistError::Global { name, at })
            }
        }
    }

    /// What the global on the stack would make of its arguments.
    fn object(&mut self, arguments: Id) -> Result<(), CellTypistError> {
        let made_by = self.pop()?;
        let Value::Global(made_by) = *self.value(made_by) else {
            return Err(self.error("something is made by what is no class or function"));
        };
        let Value::Tuple(items) = self.value(arguments) else {
            return Err(self.error("arguments are no tuple"));
        };
        if made_by == Global::Encode {
            let bytes = match items.as_slice() {
                &[text, code] => match (self.value(text), self.value(code)) {
                    (Value::Text(text), Value::Text("latin1")) => of_latin1(text),
                    _ => None,
                },
                _ => None,
            };
            let bytes = bytes.ok_or_else(|| self.error("a text stands for no bytes"))?;
            return self.push(Value::Bytes(Cow::Owned(bytes)));
        }
        let depth = self.depth_around(&[arguments])?;
        self.push(Value::Object { made_by, arguments, state: None })?;
        self.deepen(None, depth);
        Ok(())
    }

    fn build(&mut self, given: Id) -> Result<(), CellTypistError> {
        let object = self.top()?;
        let depth = self.depth_around(&[given])?;
        match self.values.get_mut(object as usize) {
            Some(Value::Object { state: state @ None, .. }) => *state = Some(given),
            _ => return Err(self.error("a state is given to what has none to get")),
        }
        self.deepen(Some(object), depth);
        Ok(())
    }

    fn remember(&mut self, place: u32) -> Result<(), CellTypistError> {
        let value = self.top()?;
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), CellTypistError> {
        let value = self.memo.get(&place).copied();
        self.stack
            .push(value.ok_or_else(|| self.error("a value is recalled that was not remembered"))?);
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), CellTypistError> {
        // No more values than instructions.
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
        self.depths.push(0);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, CellTypistError> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    /// Everything after the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>, CellTypistError> {
        let mark = self.marks.pop().ok_or_else(|| self.error("a mark is missing"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn top(&self) -> Result<Id, CellTypistError> {
        let value = self.stack.last().filter(|_| self.stack.len() > self.floor());
        value.copied().ok_or_else(|| self.error(EMPTY))
    }

    /// What lies below the last mark is not in reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn value(&self, id: Id) -> &Value<'a> {
        self.values.get(id as usize).unwrap_or(&Value::None)
    }

    /// The depth of what holds these values.
    fn depth_around(&self, items: &[Id]) -> Result<u8, CellTypistError> {
        let depths = items.iter().filter_map(|&id| self.depths.get(id as usize));
        let depth = depths.max().map_or(1, |&depth| depth + 1);
        if usize::from(depth) > MOST_DEPTH {
            return Err(self.limit("values in each other", MOST_DEPTH));
        }
        Ok(depth)
    }

    /// Sets the depth of a value, the last one without an id.
    fn deepen(&mut self, id: Option<Id>, depth: u8) {
        let place = match id {
            Some(id) => self.depths.get_mut(id as usize),
            None => self.depths.last_mut(),
        };
        if let Some(place) = place {
            *place = depth.max(*place);
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CellTypistError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let taken = rest.get(..len).ok_or_else(|| self.error("the file ends early"))?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CellTypistError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let array = rest.first_chunk().ok_or_else(|| self.error("the file ends early"))?;
        self.at += N;
        Ok(*array)
    }

    fn len1(&mut self) -> Result<usize, CellTypistError> {
        Ok(u8::from_le_bytes(self.array()?).into())
    }

    fn len4(&mut self) -> Result<usize, CellTypistError> {
        let len = u32::from_le_bytes(self.array()?);
        usize::try_from(len).map_err(|_| self.error("a length is too large"))
    }

    fn len8(&mut self) -> Result<usize, CellTypistError> {
        let len = u64::from_le_bytes(self.array()?);
        usize::try_from(len).map_err(|_| self.error("a length is too large"))
    }

    fn line(&mut self) -> Result<&'a str, CellTypistError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let end = rest.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| self.error("the file ends early"))?;
        let line = core::str::from_utf8(self.take(end)?);
        self.at += 1;
        line.map_err(|_| self.error("a name is no UTF-8"))
    }

    fn error(&self, reason: &str) -> CellTypistError {
        CellTypistError::Pickle { reason: reason.into(), at: self.at }
    }

    fn limit(&self, what: &'static str, limit: usize) -> CellTypistError {
        CellTypistError::Limit { what, limit, at: self.at }
    }
}

/// Bytes whose text has a letter for each of them.
fn of_latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect()
}

const EMPTY: &str = "a value is missing";
/// Letters of a refused name that are told.
const MOST_TOLD: usize = 100;
