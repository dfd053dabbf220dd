"""Which containers are opened."""

CONTAINERS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,gif,mxf,dv,wtv,rm,ivf"
"""ffmpeg's names of the formats that read one file and no playlist. Suffixes: `tdpn_core.datasets.scan`."""
