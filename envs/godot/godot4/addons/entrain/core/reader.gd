# Reads a protobuf message field by field. Bytes that are no message end it and set `is_broken`.
#
#     while reader.next():
#         match reader.field:
#             1: name = reader.text()
#
# A field that is not asked for is skipped; one of another kind than asked for reads as its default.

const VARINT = 0
const FIXED64 = 1
const BYTES = 2
const FIXED32 = 5

var field = 0
var is_broken = false
var _kind = -1
var _value = 0
var _buffer = StreamPeerBuffer.new()


func _init(bytes):
	_buffer.data_array = bytes


func next():
	if is_broken or _left() == 0:
		return false
	var key = _varint()
	field = key >> 3
	_kind = key & 7
	if field < 1:
		is_broken = true
	match _kind:
		VARINT:
			_value = _varint()
		FIXED64:
			if _has(8):
				_value = _buffer.get_double()
		FIXED32:
			if _has(4):
				_value = _buffer.get_float()
		BYTES:
			_read_block()
		_:
			is_broken = true
	return not is_broken


func uint():
	return _value if _kind == VARINT else 0


func real():
	return _value if _kind == FIXED32 or _kind == FIXED64 else 0.0


func bytes():
	return _value if _kind == BYTES else StreamPeerBuffer.new().data_array


func text():
	var decoded = bytes().get_string_from_utf8()
	var encoded = StreamPeerBuffer.new()
	encoded.put_utf8_string(decoded)
	# Godot replaces or drops what is not UTF-8.
	is_broken = is_broken or encoded.get_size() - 4 != bytes().size()
	return decoded


func _read_block():
	var length = _varint()
	_value = StreamPeerBuffer.new().data_array
	if _has(length) and length > 0:
		_value = _buffer.get_data(length)[1]


func _varint():
	var value = 0
	for place in range(10):
		if not _has(1):
			return 0
		var part = _buffer.get_u8()
		value |= (part & 0x7F) << (7 * place)
		if part < 0x80:
			return value
	is_broken = true
	return 0


func _has(count):
	if count < 0 or count > _left():
		is_broken = true
	return not is_broken


func _left():
	return _buffer.get_size() - _buffer.get_position()
