module media-service/load

go 1.22
