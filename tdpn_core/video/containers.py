"""Container formats that are opened."""

CONTAINERS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,gif,mxf,dv,wtv,rm,ivf"
"""ffmpeg's names of formats that consist of one file and are not playlists. Suffixes: `tdpn_core.datasets.scan`."""
