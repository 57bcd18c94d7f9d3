# Adds nothing to the editor: both nodes are classes, which "Add Child Node" lists by itself.
@tool
extends EditorPlugin
