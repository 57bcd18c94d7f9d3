"""Animations of what agents do, as GIF or as a page that plays them. Needs Pillow."""
