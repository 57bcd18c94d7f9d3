# Writes the fields of one protobuf message, in the order of the calls.
#
# What has its default is left out, as proto3 does. The same file serves Godot 3 and 4: bytes are
# built in a StreamPeerBuffer, because each language has its own name for arrays of bytes.

const VARINT = 0
const BYTES = 2

var _buffer = StreamPeerBuffer.new()


func uint(field, value):
	if value != 0:
		_varint(field << 3 | VARINT)
		_varint(value)


func text(field, value):
	if value == "":
		return
	var encoded = StreamPeerBuffer.new()
	encoded.put_utf8_string(value)
	# Godot puts the length in front, as 32 bits.
	encoded.seek(4)
	_block(field, encoded.get_size() - 4, encoded.get_data(encoded.get_size() - 4)[1])


func data(field, bytes):
	if bytes.size() > 0:
		_block(field, bytes.size(), bytes)


# An item of a repeated field of bytes: written even if it is empty.
func item(field, bytes):
	_block(field, bytes.size(), bytes)


# Another message, as its writer; written even if it has no fields.
func message(field, writer):
	_block(field, writer.size(), writer.bytes())


func packed_uints(field, values):
	var packed = get_script().new()
	for value in values:
		packed._varint(value)
	data(field, packed.bytes())


func packed_floats(field, values):
	var packed = StreamPeerBuffer.new()
	for value in values:
		packed.put_float(value)
	data(field, packed.data_array)


func packed_doubles(field, values):
	var packed = StreamPeerBuffer.new()
	for value in values:
		packed.put_double(value)
	data(field, packed.data_array)


func size():
	return _buffer.get_size()


func bytes():
	return _buffer.data_array


func _block(field, length, bytes):
	_varint(field << 3 | BYTES)
	_varint(length)
	if length > 0:
		_buffer.put_data(bytes)


func _varint(value):
	# A uint64 from 2^63 on is a negative int here: cut off the ones that a shift brings in.
	while value < 0 or value > 127:
		_buffer.put_u8((value & 0x7F) | 0x80)
		value = (value >> 7) & 0x01FFFFFFFFFFFFFF
	_buffer.put_u8(value)
